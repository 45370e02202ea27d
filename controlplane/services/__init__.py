"""Use cases, one a module: what the daemon does when something wakes it."""
