"""The mass-death brake: when most of the fleet falls silent at once, suspect ourselves. Pure.

Called by `fleet.apply`. While the brake is on, nothing is removed from the gateway for being silent (our own network, or our
own certificate, is the likelier culprit), and the console says so.
"""

from collections.abc import Iterable

from controlplane.fleet.observed import Trust
from controlplane.fleet.snapshot import NodeObserved

SILENT_SHARE_MAX = 0.55  # Kubernetes slows its evictions at about the same share of a zone
NODES_MIN = 3  # below this a share says nothing, unless it is all of them


def is_suspect(nodes: Iterable[NodeObserved]) -> bool:
    """True when all of these nodes are stale, or more than SILENT_SHARE_MAX of at least NODES_MIN that were alive lately.

    `nodes` are those that serve or ever reported; one that has joined and never said a word tells nothing of our network, and
    for a share neither does one that died long ago. When all are silent, however long, there is nothing to gain by removing.
    """
    known = list(nodes)
    if known and all(node.trust is Trust.STALE for node in known):
        return True
    lately = [node for node in known if not node.written_off]
    silent = sum(node.trust is Trust.STALE for node in lately)
    return len(lately) >= NODES_MIN and silent / len(lately) > SILENT_SHARE_MAX
