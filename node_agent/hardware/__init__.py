"""How the node's devices are doing, what of them is broken, and where their memory is. Reads; never allocates on them."""
