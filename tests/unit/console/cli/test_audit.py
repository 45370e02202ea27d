"""`stoker audit`: who did what, in full and harmlessly; and a verdict that says what it proves."""

import json

from google.protobuf.timestamp_pb2 import Timestamp

from controlplane.proto.stoker.v1 import operator_pb2 as pb
from tests.fakes.operator_service import FakeOperatorService
from tests.unit.console.cli.conftest import Stoker

AT = Timestamp(seconds=1_800_000_000)
HEAD = "ab" * 32


def record(number: int, **changes: str) -> pb.AuditRecord:
    texts = {"actor": "operator:ann", "action": "drain", "target": "gcp-1", "outcome": "1 changed", "hash": HEAD}
    return pb.AuditRecord(audit_id=number, at=AT, **{**texts, **changes})


async def test_entries_are_listed_and_filtered(run: Stoker, service: FakeOperatorService) -> None:
    service.audit = [record(1), record(2, action="place"), record(3, actor="agent:gcp-1", detail="\x1b[2Jgone")]
    listed = await run("audit", "list")
    assert listed.exit_code == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["ID", "1", "2", "3"]
    assert "2027-01-15 08:00:00Z" in listed.stdout
    assert "\x1b" not in listed.stdout
    only = json.loads((await run("audit", "list", "--actor", "ann", "--action", "place", "-o", "json")).stdout)
    assert [entry["audit_id"] for entry in only] == [2]
    assert service.requests("ListAudit")[-1].actor == "operator:ann"
    await run("audit", "list", "--actor", "agent:gcp-1", "--since", "2h", "--limit", "5")
    request = service.requests("ListAudit")[-1]
    assert (request.actor, request.limit, request.HasField("since")) == ("agent:gcp-1", 5, True)
    short = await run("audit", "list", "--limit", "1")
    assert "There are more than 1." in short.stderr
    service.audit = []
    assert "No entry of the audit matches." in (await run("audit", "list")).stderr


async def test_an_entry_is_shown_with_its_plan(run: Stoker, service: FakeOperatorService) -> None:
    service.audit = [
        record(7, plan="gcp-1 takes no new placements\nllama@gcp-1 gets \x1b]0;no new requests", peer="ipv4:1")
    ]
    shown = await run("audit", "show", "7")
    assert shown.exit_code == 0
    assert "plan      gcp-1 takes no new placements\n          llama@gcp-1 gets" in shown.stdout
    assert f"hash      {HEAD}" in shown.stdout
    assert "\x1b" not in shown.stdout
    as_json = json.loads((await run("audit", "show", "7", "-o", "json")).stdout)
    assert as_json["plan"][0] == "gcp-1 takes no new placements"
    assert set(as_json) == {
        *("audit_id", "at", "actor", "action", "target", "detail", "outcome", "peer", "plan", "hash")
    }


async def test_an_entry_that_is_not_there(run: Stoker) -> None:
    missing = await run("audit", "show", "8")
    assert (missing.exit_code, missing.stdout) == (3, "")
    assert "no entry 8" in missing.stderr
    for bad in ("0", "-1", "x", "99999999999999999999"):
        assert (await run("audit", "show", bad)).exit_code == 2


async def test_a_whole_audit_says_what_it_proves_and_what_not(run: Stoker, service: FakeOperatorService) -> None:
    service.verdict = pb.VerifyAuditResponse(
        whole=True, entries_count=1234, seals_count=3, head_hash=HEAD, head_id=1234, sealed_at=AT, unsealed_count=1
    )
    verdict = await run("audit", "verify", "--expect", "cd" * 32)
    assert verdict.exit_code == 0
    assert service.requests("VerifyAudit")[-1].expected_hash == "cd" * 32
    assert verdict.stdout.splitlines() == [
        "The audit is whole: 1,234 entries, each as it was written and after the one before it.",
        "The entry with the expected hash is among them: nothing up to it was changed since you noted it.",
        "3 seals by the control plane's CA, the newest of 2027-01-15 08:00:00Z.",
        "1 entry came after it. Not proved: that there were not more of these, which somebody cut off.",
        "The newest entry is 1234. Keep its hash elsewhere, to be asked for with --expect:",
        HEAD,
    ]
    as_json = json.loads((await run("audit", "verify", "-o", "json")).stdout)
    assert (as_json["whole"], as_json["head_hash"], as_json["problems"]) == (True, HEAD, [])


async def test_a_changed_audit_ends_with_a_code_of_its_own(run: Stoker, service: FakeOperatorService) -> None:
    service.verdict = pb.VerifyAuditResponse(
        whole=False, entries_count=9, head_hash=HEAD, head_id=9, problems=["entry 5 is not as it was written"]
    )
    for words in (("audit", "verify"), ("audit", "verify", "-o", "json")):
        verdict = await run(*words)
        assert verdict.exit_code == 6
        assert "entry 5 is not as it was written" in verdict.stdout
        assert "The audit was changed." in verdict.stderr
    assert "1 problem in 9 entries" in (await run("audit", "verify")).stdout
    assert "Nothing is signed yet" in (await run("audit", "verify")).stdout
