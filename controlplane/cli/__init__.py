"""Commands of `stoker-controlplane` that work on a data directory offline; `__main__` puts them together."""
