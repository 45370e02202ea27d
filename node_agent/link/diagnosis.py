"""Why a dial failed, in one clear sentence.

gRPC says UNAVAILABLE for a closed port, a wrong CA and a refused certificate alike. So after a failed dial
`session_link` and `enrolment` dial once more by hand, step by step, and look where it breaks. Never sends anything but
a TLS handshake.
"""

import asyncio
import socket
import ssl
from pathlib import Path

from node_agent.link.certificates import CONTROL_PLANE_NAME
from node_agent.link.problems import CertificateNotTrustedError, ControlPlaneUnreachableError, LinkError, printable

_STEP_SECONDS_MAX = 5.0
_VERDICT_SECONDS_MAX = 2.0  # for the server to object to our certificate; it does so at once or not at all
_SECOND_LOOK_SECONDS = 0.5

_WRONG_NAME = 62  # X509_V_ERR_HOSTNAME_MISMATCH
_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED
_NOT_YET_VALID = 9  # X509_V_ERR_CERT_NOT_YET_VALID


async def diagnose(address: str, *, ca_pem: bytes, identity_path: Path | None) -> LinkError | None:
    """What stands between this node and the control plane; None when the way there is open after all.

    `identity_path` is the file with the node's key and certificate; None when it dials to join.
    """
    found = await _dial(address, ca_pem=ca_pem, identity_path=identity_path)
    if isinstance(found, _HungUpError):
        # A control plane that is just going down hangs up as well. If it still does so a moment later, it means us.
        await asyncio.sleep(_SECOND_LOOK_SECONDS)
        found = await _dial(address, ca_pem=ca_pem, identity_path=identity_path)
    return found


class _HungUpError(CertificateNotTrustedError):
    """It took the handshake, saw our certificate, and hung up without a word: what gRPC servers do to strangers."""


async def _dial(address: str, *, ca_pem: bytes, identity_path: Path | None) -> LinkError | None:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    context = _context(ca_pem, identity_path)
    if context is None:
        return CertificateNotTrustedError("this node's certificate cannot be used for TLS: join again")
    if (unreachable := await reach(host, int(port), address)) is not None:
        return unreachable
    try:
        async with asyncio.timeout(_STEP_SECONDS_MAX):
            reader, writer = await asyncio.open_connection(
                host, int(port), ssl=context, server_hostname=CONTROL_PLANE_NAME
            )
    except TimeoutError:
        return ControlPlaneUnreachableError(f"{address} took the connection but no TLS handshake: is the port right?")
    except ssl.SSLCertVerificationError as error:
        return _foreign_server(address, error)
    except ssl.SSLError as error:
        return _handshake_failed(address, error)
    except OSError as error:
        return ControlPlaneUnreachableError(f"{address} broke off the TLS handshake ({error}): is the port right?")
    try:
        async with asyncio.timeout(_VERDICT_SECONDS_MAX):
            first = await reader.read(1)
    except TimeoutError:
        return None
    except ssl.SSLError as error:
        return _handshake_failed(address, error)
    except OSError:
        first = b""
    finally:
        writer.transport.abort()
    if first:
        return None  # the server's settings: it speaks to us
    if identity_path is None:
        return ControlPlaneUnreachableError(f"{address} hangs up after the TLS handshake: is this the enrolment port?")
    return _HungUpError(
        f"the control plane at {address} does not accept this node's certificate: it was signed by another CA or "
        "withdrawn; join again with a new token"
    )


async def reach(host: str, port: int, address: str) -> LinkError | None:
    """Name resolution and TCP alone; `address` is how the message calls it."""
    try:
        async with asyncio.timeout(_STEP_SECONDS_MAX):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        text = f"no answer from {address} within {_STEP_SECONDS_MAX:.0f} s: look at firewalls between here and there"
        return ControlPlaneUnreachableError(text)
    except socket.gaierror as error:
        text = f"the name in {address} cannot be resolved ({error.strerror}): check the address and this node's DNS"
        return ControlPlaneUnreachableError(text)
    except ConnectionRefusedError:
        text = f"nothing listens at {address}: is the control plane running there, and is the port right?"
        return ControlPlaneUnreachableError(text)
    except OSError as error:
        return ControlPlaneUnreachableError(f"{address} cannot be reached ({error.strerror or error})")
    writer.transport.abort()
    return None


def _context(ca_pem: bytes, identity_path: Path | None) -> ssl.SSLContext | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2"])
    try:
        context.load_verify_locations(cadata=ca_pem.decode("ascii"))
        if identity_path is not None:
            context.load_cert_chain(identity_path)
    except (OSError, ValueError):
        return None
    return context


def _foreign_server(address: str, error: ssl.SSLCertVerificationError) -> LinkError:
    match error.verify_code:
        case code if code == _WRONG_NAME:
            text = f"{address} shows a certificate of our CA that is not a control plane's: is the address right?"
        case code if code in (_EXPIRED, _NOT_YET_VALID):
            text = f"the certificate of {address} is not valid now: check the clocks here and there"
        case _:
            text = (
                f"{address} shows a certificate that another CA signed: it is not the control plane that this node "
                "joined; check the address, or join again if the control plane was set up anew"
            )
    return CertificateNotTrustedError(text)


def _handshake_failed(address: str, error: ssl.SSLError) -> LinkError:
    reason = printable((error.reason or str(error)).replace("_", " ").lower())
    if "expired" in reason:
        text = f"the control plane at {address} says that this node's certificate has expired: join again"
    elif "alert" in reason:
        text = (
            f"the control plane at {address} does not accept this node's certificate ({reason}): "
            "it was signed by another CA or withdrawn; join again with a new token"
        )
    else:
        text = f"{address} does not speak TLS as the control plane does ({reason}): is the port right?"
        return ControlPlaneUnreachableError(text)
    return CertificateNotTrustedError(text)
