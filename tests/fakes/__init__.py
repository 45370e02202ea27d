"""Stand-ins for what is not there in a test."""
