"""What a host is: a DNS name or an address, in one spelling.

Called by `settings.rules` for our own names, and by `identity.hosts` before a name gets into a certificate. Pure.
"""

import ipaddress
import re
from collections.abc import Iterable

from controlplane.errors import InvalidInputError

HOSTS_MAX = 16
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def checked_hosts(hosts: Iterable[str]) -> tuple[str, ...]:
    """Hosts in one spelling (lower case, addresses in canonical form), each once. Raises InvalidInputError."""
    checked = tuple(dict.fromkeys(_checked(host) for host in hosts))
    if len(checked) > HOSTS_MAX:
        raise InvalidInputError(f"{len(checked)} hosts are too many for one certificate: name at most {HOSTS_MAX}")
    return checked


def is_loopback(host: str) -> bool:
    address = _address(host.strip("[]"))
    return host == "localhost" if address is None else address.is_loopback


def _checked(host: str) -> str:
    text = host.strip().removesuffix(".").lower()
    address = _address(text.removeprefix("[").removesuffix("]"))
    if address is not None:
        if address.is_unspecified or address.is_multicast or "%" in str(address):
            raise InvalidInputError(f"host {host[:80]!a} is not valid: name an address that others can dial")
        return str(address)
    labels = text.split(".")
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        raise InvalidInputError(
            f"host {host[:80]!a} is not valid: use a DNS name (letters, digits, dashes, dots) or an IP address, "
            "without a port"
        )
    return text


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
