"""What the daemon says of itself, to the one who asks."""

from controlplane.services.describe_server import DaemonFacts, DaemonVitals, DescribeServer
from controlplane.services.watch_database import DatabaseHealth
from tests.support.clock import START
from tests.support.plane import ANN


def test_facts_stay_vitals_are_read_anew_and_the_caller_is_named() -> None:
    facts = DaemonFacts("boot-1", "0.1.0", 3, START, "sqlite", "127.0.0.1:8080")
    vitals = [
        DaemonVitals("starting", DatabaseHealth(samples_waiting_count=1), 3.0, 15.0, 60.0),
        DaemonVitals("serving", DatabaseHealth(samples_dropped_total=2), 3.0, 15.0, 60.0),
    ]
    describe = DescribeServer(facts, lambda: vitals.pop(0))
    first, second = describe(ANN), describe(ANN)
    assert (first.gateway_state, second.gateway_state) == ("starting", "serving")
    assert (second.health.samples_waiting_count, second.health.samples_dropped_total) == (0, 2)
    assert (second.boot_id, second.leader_epoch, second.gateway_address) == ("boot-1", 3, "127.0.0.1:8080")
    assert (second.caller_name, second.caller_role) == ("ann", "operator")
