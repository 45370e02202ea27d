"""stoker-agent: runs and watches this node's engines, and reports to the control plane."""

__version__ = "0.1.0"
