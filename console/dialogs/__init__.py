"""The dialogs of the console: each asks one thing and closes with the answer."""
