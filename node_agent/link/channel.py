"""gRPC channels to the control plane: fresh for every attempt, trusting the private CA alone.

Called by `enrolment` and `session_link`. The control plane is known by the DNS name in its certificate, which only it
carries, and not by the address at which it happens to be reached.
"""

import grpc

from node_agent.link.certificates import CONTROL_PLANE_NAME
from node_agent.link.identity import NodeIdentity

_OPTIONS = (
    ("grpc.ssl_target_name_override", CONTROL_PLANE_NAME),
    # A node behind NAT whose session says nothing for long is forgotten by the NAT; a dead peer is noticed within 30 s.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    # A fresh attempt must not inherit the back-off of the one before: the session has its own.
    ("grpc.use_local_subchannel_pool", 1),
    # The agent dials straight: a proxy meant for downloads knows nothing of the control plane.
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    ("grpc.max_send_message_length", 16 * 1024 * 1024),
)


def open_channel(address: str, *, ca_pem: bytes, identity: NodeIdentity | None = None) -> grpc.aio.Channel:
    """With an identity the node shows its certificate; without one (when joining) only the server shows its own."""
    credentials = grpc.ssl_channel_credentials(
        root_certificates=ca_pem,
        private_key=identity.key_pem if identity else None,
        certificate_chain=identity.certificate_pem if identity else None,
    )
    return grpc.aio.secure_channel(address, credentials, options=_OPTIONS)
