"""What is measured on the node. vLLM's and torch's names and units are translated here and nowhere else."""
