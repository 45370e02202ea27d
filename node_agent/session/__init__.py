"""The agent's session with the control plane, without any I/O: facts, and a state machine over them."""
