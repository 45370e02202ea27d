"""What must reach the control plane's history exactly once, kept on the node's disk until it is there."""
