"""A backup of a control plane that is at work, and a new one made of it on another machine: agents obey it."""

from pathlib import Path

import pytest

from controlplane.proto.stoker.v1 import fleet_pb2, operator_pb2
from tests.support.daemon_process import Installation, control_plane, ended, running

pytestmark = pytest.mark.envoy
READY = fleet_pb2.EngineStatus(
    engine_id="llama@gcp-1", generation=1, instance_id="i1", model="llama", state=fleet_pb2.ENGINE_STATE_READY
)


async def test_saved_while_it_runs_and_brought_back(tmp_path: Path) -> None:
    first = Installation(tmp_path / "data", f"sqlite:///{tmp_path / 'data' / 'stoker.db'}")
    await first.make()
    saved = str(tmp_path / "saved")
    async with running(first) as daemon:
        agent = daemon.agent()
        assert (await agent.greet(engines=[READY])).leader_epoch == 1
        operators = daemon.operators()
        await operators.CreateKey(operator_pb2.CreateKeyRequest(tenant="before"))
        code, said = await ended(await control_plane("backup", saved, "--data-dir", str(first.data)))
        assert code == 0, said
        await operators.CreateKey(operator_pb2.CreateKeyRequest(tenant="after"))
        code, said = await ended(await control_plane("restore", saved, "--data-dir", str(first.data)))
        assert code == 6, said
        assert "stop it first" in said
        assert len((await operators.ListKeys(operator_pb2.ListKeysRequest())).keys) == 2, "it was not disturbed"

    second = Installation(tmp_path / "elsewhere", f"sqlite:///{tmp_path / 'elsewhere' / 'stoker.db'}")
    code, said = await ended(await control_plane("restore", saved, "--data-dir", str(second.data)))
    assert code == 0, said
    assert "operators that were revoked" in said
    second.authority = first.authority  # the same CA: agents and operators keep their certificates
    async with running(second) as daemon:
        agent = daemon.agent()
        welcome = await agent.greet(engines=[READY], leader_epoch_seen=1)
        assert welcome.leader_epoch > 10**9, "higher than any that an agent may have seen"
        keys = (await daemon.operators().ListKeys(operator_pb2.ListKeysRequest())).keys
        assert [key.tenant for key in keys] == ["before"]
