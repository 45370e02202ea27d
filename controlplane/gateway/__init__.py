"""The data plane's side of the control plane: Envoy's configuration, its process, and the decision it asks for."""
