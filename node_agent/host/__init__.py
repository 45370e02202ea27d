"""What the agent needs of the machine that it runs on: a lock, the service manager, the list of devices."""
