"""The daemon's gRPC servers: one for agents and operators, who show certificates; one for joining, where nobody has any.

Called by `bootstrap`. Both are TLS; there is no plain one. Certificates are read anew when they were renewed on disk.
"""

from collections.abc import Callable, Iterable
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from controlplane.errors import AlreadyRunningError
from controlplane.proto.stoker.v1 import agent_pb2, agent_pb2_grpc, operator_pb2, operator_pb2_grpc
from controlplane.rpc.agent_service import AgentService
from controlplane.rpc.enrolment_service import EnrolmentService
from controlplane.rpc.operator_service import OperatorService

MESSAGE_BYTES_MAX = 16 * 1024 * 1024
OPTIONS: tuple[tuple[str, int], ...] = (
    # Two servers that share a port silently would each get half of the agents.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    # Agents behind NAT ping to keep the path open; without this they are told to calm down.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Notice a peer that vanished without a word within about half a minute.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)
AGENT_SERVICE = agent_pb2.DESCRIPTOR.services_by_name["AgentService"].full_name
ENROLMENT_SERVICE = agent_pb2.DESCRIPTOR.services_by_name["EnrolmentService"].full_name
OPERATOR_SERVICE = operator_pb2.DESCRIPTOR.services_by_name["OperatorService"].full_name

ReadPem = Callable[[], tuple[bytes, bytes]]  # key, certificate chain


class RpcServer:
    """One port. `bound_port` tells which, when 0 was asked for."""

    def __init__(self, what: str, host: str, port: int, credentials: grpc.ServerCredentials) -> None:
        self._what = what
        self._host = host
        self._port = port
        self._credentials = credentials
        self.grpc: grpc.aio.Server = grpc.aio.server(options=OPTIONS)
        self._health = health.aio.HealthServicer()
        self.bound_port = 0

    def offer(self, services: Iterable[str]) -> None:
        """Health and reflection, over these services."""
        names = (*services, health.SERVICE_NAME, reflection.SERVICE_NAME)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.grpc)
        reflection.enable_server_reflection(names, self.grpc)
        self._services = tuple(services)

    async def start(self) -> None:
        """Raises AlreadyRunningError when the port is taken."""
        address = f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"
        try:
            self.bound_port = self.grpc.add_secure_port(address, self._credentials)
        except RuntimeError as error:
            raise AlreadyRunningError(
                f"cannot listen on {address} for {self._what}: the port is taken or the address is not this machine's; "
                "stop what holds it, or set another under [server]"
            ) from error
        await self.grpc.start()
        for name in ("", *self._services):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, grace_seconds: float) -> None:
        """Tell health checkers, then end what runs after `grace_seconds`."""
        await self._health.enter_graceful_shutdown()
        await self.grpc.stop(grace_seconds)


def main_server(
    host: str, port: int, ca_pem: bytes, read_pem: ReadPem, agents: AgentService, operators: OperatorService
) -> RpcServer:
    """The port for agents and operators: a certificate of our CA is required."""
    credentials = _credentials(ca_pem, read_pem, require_client=True)
    server = RpcServer("agents and operators", host, port, credentials)
    agent_pb2_grpc.add_AgentServiceServicer_to_server(agents, server.grpc)
    operator_pb2_grpc.add_OperatorServiceServicer_to_server(operators, server.grpc)
    server.offer((AGENT_SERVICE, OPERATOR_SERVICE))
    return server


def enrolment_server(host: str, port: int, read_pem: ReadPem, enrolment: EnrolmentService) -> RpcServer:
    """The port for joining: TLS, no client certificate, one method."""
    server = RpcServer("joining nodes", host, port, _credentials(None, read_pem, require_client=False))
    agent_pb2_grpc.add_EnrolmentServiceServicer_to_server(enrolment, server.grpc)
    server.offer((ENROLMENT_SERVICE,))
    return server


def _credentials(ca_pem: bytes | None, read_pem: ReadPem, *, require_client: bool) -> grpc.ServerCredentials:
    """Server credentials that follow the files: gRPC asks before each handshake, None means as before."""
    last: list[tuple[bytes, bytes]] = [read_pem()]

    def configuration(pem: tuple[bytes, bytes]) -> Any:
        return grpc.ssl_server_certificate_configuration([pem], root_certificates=ca_pem)

    def fetch() -> Any:
        pem = read_pem()
        if pem == last[0]:
            return None
        last[0] = pem
        return configuration(pem)

    return grpc.dynamic_ssl_server_credentials(
        configuration(last[0]), fetch, require_client_authentication=require_client
    )
