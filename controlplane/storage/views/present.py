"""The view of the present: every engine as it was last told, beside what is wanted of it."""

from controlplane.storage.views.view import View, ratio
from controlplane.storage.views.words import given

_TOLD = (
    ("devices_count", "devices that it holds"),
    ("kv_capacity_tokens", "tokens that the KV cache can hold"),
    ("kv_used_tokens", "tokens that live requests hold in it"),
)
_REST = (
    ("kv_headroom_tokens", "what free device memory could still be given to the KV cache"),
    ("running_count", "requests in the batch"),
    ("waiting_count", "requests in the engine's queue"),
    ("inflight_count", "requests sent there by the gateway that have not ended"),
    ("generation_tokens_per_second", "tokens written in a second"),
    ("batch_tokens_per_step", "mean batch, in tokens"),
    ("intensity_flops_per_byte", "arithmetic intensity"),
    ("ridge_flops_per_byte", "the intensity from which on the device computes at its full rate"),
    ("prefix_hit_ratio", "share found in the prefix cache"),
    ("ttft_seconds_p50", "time to first token: half of the requests have less"),
    ("ttft_seconds_p95", "95 % of the requests have less"),
    ("context_tokens_max", "longest request that it takes"),
    ("dtype", "of its weights"),
)

FLEET_NOW = View(
    "fleet_now",
    "one row an engine that was ever reported and not forgotten, or is wanted: as it was last told",
    given(
        [
            ("engine_id", "the engine: one placement of a model on a node", "named.engine_id"),
            ("node", "the node that it is on", "COALESCE(told.node, placements.node)"),
            ("provider", "the node's provider", "COALESCE(told.provider, nodes.provider)"),
            ("region", "the node's region", "COALESCE(told.region, nodes.region)"),
            ("model", "the model that it serves", "COALESCE(told.model, deployments.model)"),
            ("state", "`ready`, `starting`, `draining`, …; NULL: no report of it has come", "told.state"),
            (
                "desired_state",
                "`running`, `drained`, `removed`; NULL: no placement names it, and nobody stops it",
                "placements.desired",
            ),
            ("deployment", "what the placement is of", "placements.deployment"),
            ("instance_id", "the engine's process", "told.instance_id"),
            ("generation", "which version of the placement it was started by", "told.generation"),
            ("desired_generation", "which version of the placement is wanted", "placements.generation"),
            ("last_report_at", "when it was last told", "told.last_report_at"),
            (
                "age_seconds",
                "since then: all that follows is as old",
                "CASE WHEN told.last_report_at > NOW() THEN 0 ELSE SECONDS_BETWEEN(told.last_report_at, NOW()) END",
            ),
            *((name, meaning, f"told.{name}") for name, meaning in _TOLD),
            ("kv_used_ratio", "of the two", ratio("told.kv_used_tokens", "told.kv_capacity_tokens")),
            *((name, meaning, f"told.{name}") for name, meaning in _REST),
            ("node_cordoned", "whether nothing new is to be placed on its node", "nodes.cordoned"),
            ("node_cordon_reason", "why", "nodes.cordon_reason"),
            (
                "node_simulated_by",
                "the simulator that its node lives in; empty: it is a real one",
                "nodes.simulated_by",
            ),
        ]
    ),
    "FROM (SELECT engine_id FROM engine_summaries UNION SELECT placement_id FROM placements) AS named\n"
    "LEFT JOIN engine_summaries AS told ON told.engine_id = named.engine_id\n"
    "LEFT JOIN placements ON placements.placement_id = named.engine_id\n"
    "LEFT JOIN deployments ON deployments.name = placements.deployment\n"
    "LEFT JOIN nodes ON nodes.name = COALESCE(told.node, placements.node)",
)
