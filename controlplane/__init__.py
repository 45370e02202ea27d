"""Stoker's control plane: fleet state, decisions, history. See docs/architecture.md for the layers."""

__version__ = "0.1.0"
