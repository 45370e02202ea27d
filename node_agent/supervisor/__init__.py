"""Keeps this node's engines running: a pure life cycle, and the hands that carry it out."""
