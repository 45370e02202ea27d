"""Which models operators deployed: the only ones that may name a counter. Used wherever requests are counted.

A client may ask for any model, and an engine may say that it serves any: neither may make a name in metrics or in history.
"""

from controlplane.fleet.desired import Desired
from controlplane.fleet.snapshot import FleetSnapshot

OTHER = "other"


class DeployedModels:
    """Looks at the placements again only when desired state has changed: requests come more often than operators act."""

    def __init__(self) -> None:
        self._desired: Desired | None = None
        self._models: frozenset[str] = frozenset()

    def of(self, snapshot: FleetSnapshot) -> frozenset[str]:
        if snapshot.desired is not self._desired:
            self._desired, self._models = snapshot.desired, snapshot.models()
        return self._models

    def label(self, snapshot: FleetSnapshot, model: str) -> str:
        """The model's own name if it is one of the fleet's, else "other"."""
        return model if model in self.of(snapshot) else OTHER
