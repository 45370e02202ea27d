"""Truth on the screen: updates change cells and nothing else, ages grow, what is old looks old, a lost link shows."""

from dataclasses import replace
from datetime import timedelta

from console.model.fleet_view import Connection, DesiredState, EngineRow, EngineState, FleetView
from console.model.format import UNKNOWN
from console.widgets.panel import Panel
from console.widgets.spans import Tone
from console.widgets.top_line import LinkBanner, TopLine
from tests.console.stage import Stage
from tests.fakes import fleet

KEY = "llama-3-8b@oci-1"


def with_engine(view: FleetView, key: str, **changes: object) -> FleetView:
    row: EngineRow = replace(view.engines[key], **changes)  # type: ignore[arg-type]
    return replace(view, engines={**view.engines, key: row})


async def test_an_update_changes_its_line_and_leaves_cursor_and_scroll_alone() -> None:
    view = fleet.mixed()
    async with Stage(view).running((120, 40)) as stage:
        table = stage.table("engines")
        await stage.press(*["down"] * 20)
        key, top, repainted = table.cursor_key, table.scroll_offset.y, table.lines_repainted
        assert key is not None
        assert top > 0
        await stage.show(with_engine(view, key, running=7, waiting=3))
        assert (table.cursor_key, table.scroll_offset.y) == (key, top)
        assert table.lines_repainted - repainted == 1
        cells = stage.row("engines", key).split()
        assert "7" in cells
        assert "3" in cells


async def test_rows_that_come_and_go_above_do_not_move_what_one_reads() -> None:
    view = fleet.mixed()
    async with Stage(view).running((120, 40)) as stage:
        table = stage.table("engines")
        await stage.press(*["down"] * 20)
        key, height = table.cursor_key, table.cursor_index - table.scroll_offset.y
        gone = {name: row for name, row in view.engines.items() if name not in table.order.keys[:3]}
        await stage.show(replace(view, engines=gone))
        assert table.cursor_key == key
        assert table.cursor_index - table.scroll_offset.y == height
        await stage.show(view)
        assert table.cursor_key == key
        assert table.cursor_index - table.scroll_offset.y == height


async def test_an_order_by_figures_stays_while_figures_change() -> None:
    view = fleet.mixed()
    async with Stage(view).running((120, 40)) as stage:
        table = stage.table("engines")
        await stage.press("K")
        order = list(table.order.keys)
        assert order[0] == "Qwen-Qwen2.5-72B-Instruct@oci-2"
        await stage.show(with_engine(view, order[0], kv_used_tokens=1))
        assert table.order.keys == order
        await stage.press("K", "K")  # asked for again
        assert table.order.keys[0] != order[0]


async def test_ages_grow_by_the_daemons_clock_and_turn_stale() -> None:
    view = fleet.small()
    async with Stage(view).running((120, 40)) as stage:
        stage.clock.go_on(3_600)  # this machine's clock is wrong by an hour; the daemon's counts
        await stage.show(replace(view, now=fleet.NOW + timedelta(seconds=1)))
        assert stage.row("engines", KEY).rstrip().endswith(" 2 s")
        await stage.seconds_go_by(6)
        assert stage.row("engines", KEY).rstrip().endswith(" 8 s")
        await stage.seconds_go_by(10)
        line = stage.table("engines").line_of(KEY)
        assert "".join(text for text, _ in line).rstrip().endswith(" 18 s !")
        assert {tone for text, tone in line if text.strip()} <= {Tone.DIM, Tone.TRACK, Tone.WARN}
        assert "stale" in stage.text
        assert "All is well" not in stage.text


async def test_a_node_goes_from_cut_off_to_lost_and_a_filter_follows() -> None:
    view = fleet.small()
    cut = replace(view, nodes={**view.nodes, "gcp-1": replace(view.nodes["gcp-1"], connected=False)})
    async with Stage(cut).running((120, 40)) as stage:
        nodes = stage.table("nodes")
        nodes.filter_by("gcp state:lost")
        await stage.show(cut)
        assert "cut off" in stage.text
        assert nodes.order.keys == []
        await stage.seconds_go_by(20)
        assert nodes.order.keys == []
        await stage.seconds_go_by(60)
        assert nodes.order.keys == ["gcp-1"]
        assert " lost " in stage.row("nodes", "gcp-1")


async def test_a_drained_placement_reads_carried_out_once_its_engine_has_stopped() -> None:
    view = fleet.small()
    drained = replace(view.placements[KEY], desired=DesiredState.DRAINED, generation=3)
    view = replace(view, placements={**view.placements, KEY: drained})
    async with Stage(view).running((160, 40)) as stage:
        await stage.order("node oci-1")
        for state, words in (
            (EngineState.READY, "3, seen 2"),
            (EngineState.DRAINING, "3 under way"),
            (EngineState.STOPPED, "3 carried out"),
        ):
            await stage.show(with_engine(view, KEY, state=state))
            assert words in stage.row("placements", KEY)


async def test_all_is_well_is_said_of_fresh_data_only() -> None:
    async with Stage(fleet.small()).running((120, 40)) as stage:
        assert "All is well" in stage.text
        await stage.link(Connection.LOST, "it went away")
        assert "All is well" not in stage.text
        assert "Nothing was known to be wrong" in stage.text


async def test_what_stands_in_an_empty_table_is_kept_current() -> None:
    view = fleet.small()
    async with Stage(None).running((120, 40)) as stage:
        assert "Waiting for the control plane" in stage.text
        await stage.show(fleet.empty())
        assert "stoker node token" in stage.text
        await stage.show(view)
        assert "As of 03:12:07Z" in stage.text
        await stage.show(replace(view, now=fleet.NOW + timedelta(seconds=1)))
        assert "As of 03:12:08Z" in stage.text


async def test_a_lost_link_is_impossible_to_miss_and_keeps_what_is_known() -> None:
    async with Stage(fleet.small()).running((120, 40)) as stage:
        await stage.link(Connection.LOST, "The control plane cannot be reached.")
        await stage.seconds_go_by(42)
        assert stage.app.screen.query_one(LinkBanner).display
        assert stage.app.screen.query_one(TopLine).has_class("-lost")
        text = stage.text
        assert "LOST 42 s" in text
        assert "CONNECTION LOST" in text
        assert "03:12:07Z" in text
        assert "The control plane cannot be reached." in text
        assert KEY in text
        assert {tone for part, tone in stage.table("engines").line_of(KEY) if KEY in part} == {Tone.DIM}
        await stage.link(Connection.LIVE)
        assert not stage.app.screen.query_one(LinkBanner).display


async def test_a_database_that_is_away_stands_at_the_top_of_every_screen() -> None:
    away = fleet.server(database_away_since=fleet.ago(125), database_problem="the database's disk is full: free space")
    async with Stage(replace(fleet.small(), server=away)).running((160, 40)) as stage:
        assert "database away 2 min" in stage.text
        assert "the database's disk is full" in stage.text
        await stage.press("2")
        assert "database away" in stage.text
        await stage.show(fleet.small())
        assert "database away" not in stage.text


async def test_a_refused_link_says_why() -> None:
    async with Stage(None, connection=Connection.REFUSED).running((120, 40)) as stage:
        await stage.link(Connection.REFUSED, "Ask an admin for new credentials.")
        assert "REFUSED" in stage.text
        assert "Ask an admin" in stage.text
        assert "Waiting for the control plane" in stage.text


async def test_unknown_is_a_dash_and_never_zero() -> None:
    async with Stage(fleet.unknown()).running((120, 40)) as stage:
        row = stage.row("engines", "some-model@mystery-1")
        assert "0" not in row.replace("·", "")
        assert row.count(UNKNOWN) >= 8
        await stage.press("enter")
        assert f"{UNKNOWN} of {UNKNOWN} tokens" in stage.app.screen.query_one("#kv", Panel).text
        await stage.press("escape", "tab", "enter")
        assert "No device was told" in stage.text


async def test_an_engine_that_goes_away_stays_as_it_was_and_says_so() -> None:
    view = fleet.small()
    async with Stage(view).running((120, 40)) as stage:
        await stage.press("enter")
        await stage.show(replace(view, engines={}, models={}))
        assert "gone from the fleet" in stage.text
        assert "ready" in stage.text


async def test_the_log_follows_its_end_until_one_looks_back() -> None:
    view = fleet.small()

    def more(view: FleetView, count: int) -> FleetView:
        last = view.events[-1].event_id
        new = tuple(replace(view.events[0], event_id=last + 1 + index) for index in range(count))
        return replace(view, events=view.events + new)

    async with Stage(view).running((120, 40)) as stage:
        await stage.press("2")
        table = stage.table("log")
        view = more(view, 60)
        await stage.show(view)
        assert table.cursor_key == str(view.events[-1].event_id)
        await stage.press("up", "up", "up")
        key, top = table.cursor_key, table.scroll_offset.y
        await stage.show(more(view, 5))
        assert (table.cursor_key, table.scroll_offset.y) == (key, top)


async def test_the_filter_narrows_names_itself_and_is_cleared_by_escape() -> None:
    async with Stage(fleet.mixed()).running((120, 40)) as stage:
        await stage.press("2", "slash", *"error")
        assert stage.table("log").order.keys == ["5", "8"]
        await stage.press("enter")
        assert "2 of 8" in stage.text
        assert "/error" in stage.text
        await stage.press("slash", *["backspace"] * 5, *"!kind:engine", "enter")
        assert stage.table("log").order.keys == ["1", "3", "6", "8"]
        await stage.press("escape")
        assert len(stage.table("log").order.keys) == 8
        await stage.press("slash", *"[", "enter")  # half a pattern harms nobody
        assert "Nothing matches /[" in stage.text


async def test_first_words_of_an_empty_fleet_say_what_to_do() -> None:
    async with Stage(fleet.empty()).running((80, 24)) as stage:
        for words in ("stoker node token", "stoker-agent join", "stoker place"):
            assert words in stage.text
