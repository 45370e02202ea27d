"""The agent's composition root: the only package that knows every concrete class. Its life is `cli.running`'s.

`assemble` is called by `stoker-agent run`. `wiring` makes the node's parts and ties them together, `engine_wiring` those
that run engines and listen to what is inside them.
"""

from node_agent.bootstrap.wiring import Agent, assemble

__all__ = ["Agent", "assemble"]
