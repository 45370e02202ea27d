"""Joining: the one service that a caller without a certificate may use. Translates only.

Registered by `rpc.server` on the enrolment port. The token is the caller's only proof; it never reaches a log.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from controlplane.proto.stoker.v1 import agent_pb2, agent_pb2_grpc
from controlplane.rpc.agent_service import credentials_to_wire
from controlplane.rpc.error_mapping import unary
from controlplane.services.enrol_node import EnrolmentRequest, EnrolNode


class EnrolmentService(agent_pb2_grpc.EnrolmentServiceServicer):
    def __init__(self, enrol: EnrolNode, on_replaced: Callable[[str], None]) -> None:
        """`on_replaced` is told a node's name when another machine took its place."""
        self._enrol = enrol
        self._on_replaced = on_replaced

    @unary
    async def Join(self, request: agent_pb2.JoinRequest, context: Any) -> agent_pb2.JoinResponse:
        asked = EnrolmentRequest(
            token_id=request.token_id,
            token_secret=request.token_secret,
            node_name=request.node_name,
            provider=request.provider,
            region=request.region,
            certificate_request_pem=request.certificate_request_pem,
            zone=request.zone,
            agent_version=request.agent_version,
            advertised_hosts=tuple(request.advertised_hosts),
            labels=dict(request.labels),
        )
        # Shielded: a caller that hangs up must not leave SQL changed and the fleet's state not.
        enrolment = await asyncio.shield(self._enrol(asked, str(context.peer())))
        if enrolment.replaced:
            self._on_replaced(enrolment.node.name)
        return agent_pb2.JoinResponse(
            credentials=credentials_to_wire(enrolment.credentials), node_name=enrolment.node.name
        )
