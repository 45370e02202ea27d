"""What runs inside vLLM's API server: counts its steps, knows its requests, and tells the agent.

Copied by `node_agent.engines.plugin_files` into a folder of its own, where the package is called `stoker_vllm`, and
loaded by vLLM. So it imports the standard library, vLLM, its own modules (by relative imports) and `prefix_text`, and
nothing else of Stoker. It must never fail or delay a request or a step.
"""
