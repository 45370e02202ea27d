"""The console's link to the control plane: the only place in the console that speaks gRPC and knows the wire."""

import os

# gRPC's core writes its own log lines to stderr, which would tear a full-screen console; failures reach us as errors.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
