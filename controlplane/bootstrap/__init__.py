"""The composition root: the only package that knows every concrete class.

`serve` is called by `__main__ run`. `wiring` makes the parts and ties them together, `daemon` starts and stops them in order.
"""

from controlplane.bootstrap.daemon import serve

__all__ = ["serve"]
