"""The rules for names, hosts and addresses that people type. Pure; raises ValueError with the rule in a sentence.

Used by the settings' model and by `stoker-agent join`. What passes here is safe to show, to log and to put into a file
name. The control plane checks again: it trusts no agent.
"""

import ipaddress
import re
from collections.abc import Mapping

DEFAULT_SESSION_PORT = 7443
DEFAULT_ENROLMENT_PORT = 7444
_CONTROL_PLANE_NAME = "stoker-controlplane"

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
_HOST_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_LABEL_KEY = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE_CHARACTERS_MAX = 128
_LABELS_MAX = 32
_HOST_CHARACTERS_MAX = 253
_PORT_MAX = 65535


def checked_name(kind: str, value: str) -> str:
    """A node's, provider's, region's or zone's name."""
    if _NAME.fullmatch(value) is None:
        why = "it has upper-case letters; " if value.lower() != value and _NAME.fullmatch(value.lower()) else ""
        raise ValueError(
            f"{kind} {value[:80]!a} is not valid: {why}use 1 to 63 lower-case letters, digits, dots and dashes, "
            "with a letter or digit at both ends"
        )
    return value


def checked_host(value: str) -> str:
    """A DNS name or an address at which others reach this node, without a port."""
    host = value.strip().strip("[]")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        labels = host.split(".")
        if len(host) > _HOST_CHARACTERS_MAX or not all(_HOST_LABEL.fullmatch(label) for label in labels):
            text = f"host {value[:80]!a} is not valid: give a DNS name or an address, without a port"
            raise ValueError(text) from None
        if host.lower() == _CONTROL_PLANE_NAME:
            text = f"a node cannot be reached as {_CONTROL_PLANE_NAME}: that is the control plane's name"
            raise ValueError(text) from None
        return host.lower()
    if address.is_unspecified or address.is_multicast:
        raise ValueError(f"host {value[:80]!a} is not valid: give an address that others can dial")
    return str(address)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def checked_advertised(hosts: tuple[str, ...]) -> tuple[str, ...]:
    """Where others reach this node's engines. The first is what the gateway dials, and it never waits for DNS."""
    if hosts:
        try:
            ipaddress.ip_address(hosts[0])
        except ValueError:
            text = f"{hosts[0]!a} is a name: give the address that the gateway is to dial first; names may follow it"
            raise ValueError(text) from None
    return hosts


def checked_address(value: str, default_port: int) -> str:
    """`HOST`, `HOST:PORT` or `[IPV6]:PORT`, to `host:port`."""
    text = value.strip()
    host, port = text, str(default_port)
    if text.startswith("["):
        host, closed, rest = text.partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ValueError(f"address {value[:80]!a} is not valid: write [IPV6]:PORT")
        host, port = host[1:], rest[1:] or port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    host = checked_host(host)
    if not port.isdecimal() or not 0 < int(port) <= _PORT_MAX:
        raise ValueError(f"address {value[:80]!a} is not valid: the port must be a number from 1 to {_PORT_MAX}")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def checked_labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    if len(labels) > _LABELS_MAX:
        raise ValueError(f"{len(labels)} labels are too many: give at most {_LABELS_MAX}")
    for key, value in labels.items():
        if _LABEL_KEY.fullmatch(key) is None:
            raise ValueError(f"label {key[:80]!a} is not valid: use up to 63 letters, digits and . _ / -")
        if len(value) > _LABEL_VALUE_CHARACTERS_MAX or not value.isprintable():
            raise ValueError(
                f"the value of label {key} is not valid: use up to {_LABEL_VALUE_CHARACTERS_MAX} printable characters"
            )
    return labels
