"""`QuerySql` over the wire: a viewer asks the views of a running control plane, and whoever leaves is not answered further."""

import asyncio

import grpc
import pytest

from controlplane.fleet.access import Role
from controlplane.proto.stoker.v1 import operator_pb2
from tests.support.served import DEADLINE_SECONDS, Served

_ENDLESS = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers) SELECT COUNT(*) FROM numbers"


async def test_a_viewer_asks_and_learns_what_is_refused(plane: Served) -> None:
    stub = await plane.operators(Role.VIEWER)
    request = operator_pb2.SqlRequest(sql="SELECT COUNT(*) AS views_count FROM view_columns WHERE view_name = :name")
    request.parameters["name"] = "fleet_now"
    answer = await stub.QuerySql(request)
    assert [column.name for column in answer.columns] == ["views_count"]
    assert answer.rows[0].values[0].whole > 20
    assert answer.dialect == "sqlite"
    for sql in ("SELECT * FROM api_keys", "DELETE FROM events", "SELECT 1; SELECT 2"):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.QuerySql(operator_pb2.SqlRequest(sql=sql))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT, sql


async def test_a_question_whose_asker_left_makes_room_for_others(plane: Served) -> None:
    stub = await plane.operators(Role.VIEWER)
    async with asyncio.timeout(DEADLINE_SECONDS):
        calls = [stub.QuerySql(operator_pb2.SqlRequest(sql=_ENDLESS, seconds_max=60)) for _ in range(3)]
        ended = asyncio.Event()
        for call in calls:
            call.add_done_callback(lambda _: ended.set())
        await ended.wait()  # one is too many
        (refused,) = [call for call in calls if call.done()]
        assert "try again" in str(await refused.details())
        for call in calls:
            call.cancel()
        while True:
            try:
                answer = await stub.QuerySql(operator_pb2.SqlRequest(sql="SELECT 1 AS one"))
                break
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.01)
    assert answer.rows[0].values[0].whole == 1
