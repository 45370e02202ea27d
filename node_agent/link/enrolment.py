"""Getting and renewing this node's certificate.

`join` is called by the command line, once, with a one-time token; `renew` by `renewal` for as long as the agent runs.
Neither retries: a refused token stays refused, and who waits for a control plane to come back is the caller.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import grpc

from controlplane.proto.stoker.v1 import agent_pb2, agent_pb2_grpc
from node_agent.clock import Clock
from node_agent.link.certificates import certificate_request_pem, check_issued, holds_authority, new_key_pem, read_chain
from node_agent.link.channel import open_channel
from node_agent.link.diagnosis import diagnose
from node_agent.link.identity import IdentityStore, IssuedCredentials, NodeIdentity
from node_agent.link.join_token import JoinToken
from node_agent.link.problems import CredentialsUnusableError, LinkError
from node_agent.link.statuses import explain

_CALL_SECONDS_MAX = 15.0


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """What the node says of itself when it joins."""

    node_name: str
    provider: str
    region: str
    agent_version: str
    zone: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    advertised_hosts: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Joined:
    node_name: str  # as the control plane calls this node
    identity: NodeIdentity


async def join(*, address: str, token: JoinToken, request: JoinRequest, store: IdentityStore, clock: Clock) -> Joined:
    """Trade the token for an identity and store it. Raises LinkError; OSError when it cannot be stored."""
    store.prepare()
    key_pem = new_key_pem()
    message = agent_pb2.JoinRequest(
        token_id=token.token_id,
        token_secret=token.secret,
        node_name=request.node_name,
        provider=request.provider,
        region=request.region,
        zone=request.zone,
        certificate_request_pem=certificate_request_pem(key_pem, request.node_name, request.advertised_hosts),
        agent_version=request.agent_version,
        advertised_hosts=request.advertised_hosts,
        labels=request.labels,
    )
    async with open_channel(address, ca_pem=token.ca_pem) as channel:
        stub: agent_pb2_grpc.EnrolmentServiceAsyncStub = agent_pb2_grpc.EnrolmentServiceStub(channel)
        try:
            answer = await stub.Join(message, timeout=_CALL_SECONDS_MAX)
        except grpc.aio.AioRpcError as error:
            raise await _why(error, address, ca_pem=token.ca_pem) from error
    issued = _checked(answer.credentials, key_pem, clock)
    if not holds_authority(issued.ca_pem, token.ca_pem):
        raise CredentialsUnusableError(
            "the control plane answered with another CA than the token names: make a new token and join again"
        )
    store.install(key_pem, issued, clock.now())
    return Joined(answer.node_name or request.node_name, store.load())


async def renew(
    *, address: str, node_name: str, advertised_hosts: Sequence[str], store: IdentityStore, clock: Clock
) -> NodeIdentity:
    """A new key and certificate over the existing identity. Raises LinkError, OSError."""
    identity = store.load()
    key_pem = new_key_pem()
    message = agent_pb2.RenewCertificateRequest(
        certificate_request_pem=certificate_request_pem(key_pem, node_name, advertised_hosts),
        advertised_hosts=advertised_hosts,
    )
    async with open_channel(address, ca_pem=identity.ca_pem, identity=identity) as channel:
        stub: agent_pb2_grpc.AgentServiceAsyncStub = agent_pb2_grpc.AgentServiceStub(channel)
        try:
            answer = await stub.RenewCertificate(message, timeout=_CALL_SECONDS_MAX)
        except grpc.aio.AioRpcError as error:
            raise await _why(error, address, ca_pem=identity.ca_pem, store=store) from error
    store.renew(key_pem, _checked(answer.credentials, key_pem, clock))
    return store.load()


def _checked(credentials: agent_pb2.Credentials, key_pem: bytes, clock: Clock) -> IssuedCredentials:
    issued = IssuedCredentials(credentials.certificate_pem, credentials.ca_pem, credentials.gateway_ca_pem)
    check_issued(certificate_pem=issued.certificate_pem, key_pem=key_pem, ca_pem=issued.ca_pem, now=clock.now())
    read_chain(issued.gateway_ca_pem, "the gateway's CA")  # an engine with an unreadable bundle would not start
    return issued


async def _why(
    error: grpc.aio.AioRpcError, address: str, *, ca_pem: bytes, store: IdentityStore | None = None
) -> LinkError:
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        found = await diagnose(address, ca_pem=ca_pem, identity_path=store.node_path if store else None)
        if found is not None:
            return found
    return explain(error, address)
