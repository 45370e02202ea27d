"""What the console knows, as plain Python: no Textual, no gRPC, no I/O."""
