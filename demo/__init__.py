"""The demonstration: a fleet on one machine, with real vLLM engines that serve a model made on the spot."""
