"""The `stoker` command: everything the console can do, from a shell. No Textual here until `stoker console` is run."""
