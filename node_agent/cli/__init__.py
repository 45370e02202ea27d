"""The commands of `stoker-agent`, one module each. They only translate: options to settings, errors to exit codes."""
