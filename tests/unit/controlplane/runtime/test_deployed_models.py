"""Only what operators deployed is a name."""

from controlplane.runtime.deployed_models import DeployedModels
from tests.support.fleet import Timeline, desired, enrolled, opened, placed, reported


def test_a_model_counts_by_its_own_name_while_it_is_deployed() -> None:
    fleet, models = Timeline(desired([enrolled()], [placed()])), DeployedModels()
    fleet.step(0, opened("gcp-1", 0, reported(model="claimed")))
    assert models.label(fleet.snapshot, "llama") == "llama"
    assert models.label(fleet.snapshot, "claimed") == "other"
    assert models.label(Timeline(desired([enrolled()])).snapshot, "llama") == "other"
