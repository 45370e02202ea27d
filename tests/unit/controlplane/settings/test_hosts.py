"""Hosts: one spelling each, and nothing that is not one."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.errors import InvalidInputError
from controlplane.settings.hosts import HOSTS_MAX, checked_hosts, is_loopback


def test_one_spelling() -> None:
    given_hosts = ["GPU-1.Example.", "gpu-1.example", "[FD00:0::7]", "fd00::7", " 10.0.0.1 "]
    assert checked_hosts(given_hosts) == ("gpu-1.example", "fd00::7", "10.0.0.1")


@given(st.ip_addresses().filter(lambda address: not address.is_multicast and not address.is_unspecified))
def test_every_address_that_can_be_dialled(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if "%" not in str(address):
        assert checked_hosts([str(address)]) == (str(address),)


@pytest.mark.parametrize(
    "host",
    [
        "", ".", "a..b", "-a", "a-", "a_b", "*.example", "host:7443", "http://host", "a b", "a\nb", "ü.example",
        "1.2.3", "256.1.1.1", "0.0.0.0", "::",  # noqa: S104
        "224.0.0.1", "ff02::1", "fe80::1%eth0", "a" * 64, "a." * 130 + "a",
        "\x1b[31m", "stoker://operator/x?role=admin",
    ],
)  # fmt: skip
def test_what_is_no_host(host: str) -> None:
    with pytest.raises(InvalidInputError, match="is not valid") as refused:
        checked_hosts([host])
    assert str(refused.value).isprintable()


@given(st.text(max_size=30))
def test_whatever_passes_is_plain_ascii_and_passes_again(text: str) -> None:
    try:
        (checked,) = checked_hosts([text])
    except InvalidInputError:
        return
    assert checked.isascii()
    assert checked.isprintable()
    assert checked_hosts([checked]) == (checked,)


def test_too_many() -> None:
    with pytest.raises(InvalidInputError, match="17 hosts are too many"):
        checked_hosts(f"host-{number}" for number in range(HOSTS_MAX + 1))


def test_loopback() -> None:
    assert [is_loopback(host) for host in ("localhost", "127.0.0.9", "::1", "[::1]")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "example")] == [False] * 4  # noqa: S104
