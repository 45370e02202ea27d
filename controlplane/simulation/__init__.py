"""Engines as arithmetic: what one would do, in virtual time, without running it. Pure."""
