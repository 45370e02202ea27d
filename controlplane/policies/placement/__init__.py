"""What should run where, against what does."""
