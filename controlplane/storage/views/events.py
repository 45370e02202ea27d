"""Views of what happened and who did it, and of leases."""

from controlplane.storage.views.view import View, ViewColumn
from controlplane.storage.views.words import given

_EVENT = (
    ("event_id", "grows in the order of happening; with gaps when events were lost while the database was away"),
    ("at", "when, by the control plane's clock"),
    ("severity", "`info`, `warning`, `error`"),
    ("kind", "`node_connected`, `engine_ready`, `placement_created`, …"),
    ("message", "a sentence"),
    ("node", "the node that it is about; empty: none"),
    ("engine_id", "the engine; empty: none"),
    ("model", "the model; empty: none"),
    ("device_id", "the device; empty: none"),
    ("action", "what to do about it, for people; empty: nothing was proposed"),
    ("actor", "`operator:ann`, `agent:gcp-1`, `system`"),
)

EVENTS = View("events", "one row an event", given(_EVENT), "FROM fleet_events")

CAPACITY_EVENTS = View(
    "capacity_events",
    "one row an event of engines, nodes, devices, placements and leases: what there was to serve with",
    (
        *given(_EVENT),
        ViewColumn(
            "capacity_change",
            "`gained`: an engine or node came; `lost`: one went; empty: neither by itself",
            "CASE WHEN kind IN ('engine_ready', 'node_recovered') THEN 'gained'\n"
            "    WHEN kind IN ('engine_draining', 'engine_stopping', 'engine_stopped', 'engine_backing_off',\n"
            "      'engine_failed', 'engine_gone', 'node_lost', 'node_forgotten') THEN 'lost' ELSE '' END",
        ),
    ),
    "FROM fleet_events\n"
    "WHERE SUBSTR(kind, 1, 7) = 'engine_' OR SUBSTR(kind, 1, 5) = 'node_' OR SUBSTR(kind, 1, 10) = 'placement_'\n"
    "  OR SUBSTR(kind, 1, 6) = 'lease_' OR SUBSTR(kind, 1, 6) = 'brake_' OR device_id <> ''",
)

AUDIT_TRAIL = View(
    "audit_trail",
    "one row an action of an operator or of the control plane itself; none is ever changed",
    given(
        [
            ("audit_id", "in the order of writing"),
            ("at", "when"),
            ("actor", "who"),
            ("peer", "from which address"),
            ("action", "what"),
            ("target", "to what"),
            ("detail", "how"),
            ("plan", "the steps as they were shown to who asked for them, a line each"),
            ("outcome", "how it ended"),
            ("prev_hash", "the hash of the entry before, hexadecimal"),
            ("hash", "of this entry and of the one before; `stoker audit verify` checks the chain"),
        ]
    ),
    "FROM audit_entries",
)

_LEFT = (
    "CASE WHEN ends_at <= NOW() THEN 0 WHEN starts_at > NOW() THEN SECONDS_BETWEEN(starts_at, ends_at)\n"
    "    ELSE SECONDS_BETWEEN(NOW(), ends_at) END"
)
_DAYS_LEFT = "CASE WHEN ends_at <= NOW() THEN 0 ELSE SECONDS_BETWEEN(NOW(), ends_at) / 86400 END"
_STATE = "CASE WHEN ends_at <= NOW() THEN 'ended' WHEN starts_at > NOW() THEN 'ahead' ELSE 'running' END"

LEASE_CALENDAR = View(
    "lease_calendar",
    "one row a lease: the right to use devices until a date, at a price",
    given(
        [
            ("lease_id", "the lease"),
            ("provider", "of whom"),
            ("region", "where; empty: anywhere"),
            ("device_kind", "what kind of devices, as nodes tell it"),
            ("devices_count", "how many"),
            ("nodes", "the nodes that it is for, as a JSON list; `[]`: any", "CAST(nodes AS TEXT)"),
            ("starts_at", "from when"),
            ("ends_at", "until when"),
            ("state", "`ahead`, `running`, `ended`", _STATE),
            ("days_left", "until its end; 0: it has ended", _DAYS_LEFT),
            (
                "device_hours",
                "device-hours from its beginning to its end",
                "devices_count * SECONDS_BETWEEN(starts_at, ends_at) / 3600",
            ),
            ("device_hours_left", "of these: still to come", f"devices_count * ({_LEFT}) / 3600"),
            ("price_per_device_hour", "NULL: not told"),
            ("currency", "of the price; empty: no price"),
            (
                "cost",
                "of all its device-hours, used or not",
                "price_per_device_hour * devices_count * SECONDS_BETWEEN(starts_at, ends_at) / 3600",
            ),
            ("cost_left", "of those still to come", f"price_per_device_hour * devices_count * ({_LEFT}) / 3600"),
            ("note", "what was noted with it"),
            ("created_at", "when it was entered"),
            ("created_by", "by whom"),
        ]
    ),
    "FROM leases",
)
