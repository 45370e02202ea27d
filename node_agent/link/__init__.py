"""The agent's link to the control plane: identity, joining, the bidi session, its codec. The agent's only gRPC."""
