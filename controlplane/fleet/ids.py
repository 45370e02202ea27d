"""Names of things, and the rules that they obey.

Called wherever a name enters the system (enrolment, operators' calls, settings). A name that passed here is safe to show,
to log, to use in a file name and in a URL: that is what the rules are for.
"""

import re
from typing import NewType

from controlplane.errors import InvalidInputError

NodeName = NewType("NodeName", str)
PlacementId = NewType("PlacementId", str)  # also the engine's id: one engine per placement
DeploymentName = NewType("DeploymentName", str)
ModelName = NewType("ModelName", str)
TenantName = NewType("TenantName", str)

_LABEL = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
_MODEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._:/-]{0,190}[A-Za-z0-9])?")


def _checked(kind: str, value: str, pattern: re.Pattern[str], rule: str) -> str:
    if pattern.fullmatch(value) is None:
        # ascii(): a hostile name must not reach a terminal or a log as it is.
        raise InvalidInputError(f"{kind} {value[:80]!a} is not valid: {rule}")
    return value


_LABEL_RULE = "use 1 to 63 lower-case letters, digits, dots and dashes, with a letter or digit at both ends"


def node_name(value: str) -> NodeName:
    """Check a node's name. Raises InvalidInputError."""
    return NodeName(_checked("node name", value, _LABEL, _LABEL_RULE))


def deployment_name(value: str) -> DeploymentName:
    """Check a deployment's name; slashes are allowed since it is the model's name by default. Raises InvalidInputError."""
    return DeploymentName(model_name(value))


def model_name(value: str) -> ModelName:
    """Check the name that clients ask for. Raises InvalidInputError."""
    rule = "use 1 to 192 letters, digits and . _ : / -, with a letter or digit at both ends"
    return ModelName(_checked("model name", value, _MODEL, rule))


def tenant_name(value: str) -> TenantName:
    """Check a tenant's name. Raises InvalidInputError."""
    return TenantName(_checked("tenant name", value, _LABEL, _LABEL_RULE))


def place_label(kind: str, value: str) -> str:
    """Check a provider's, region's or zone's name (empty means not told). Raises InvalidInputError."""
    return value and _checked(kind, value, _LABEL, _LABEL_RULE)


def placement_id(deployment: str, node: str, ordinal: int) -> PlacementId:
    """The id of the ordinal-th (from 1) placement of a deployment on a node: readable, shell-safe, unique.

    Slashes and colons of model names become dashes, so the id can name a file and a cluster.
    """
    stem = f"{re.sub('[^A-Za-z0-9._-]', '-', deployment)}@{node}"
    return PlacementId(stem if ordinal == 1 else f"{stem}.{ordinal}")
