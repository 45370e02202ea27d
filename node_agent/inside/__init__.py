"""What is known of an engine from inside: the plug-in in vLLM, its records and notes, and the KV events beside it."""
