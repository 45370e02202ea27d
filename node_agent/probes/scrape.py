"""One reading of an engine, in Stoker's names and units. Made by `metrics`, carried by the engines' clients."""

from dataclasses import dataclass

from node_agent.session.facts import EngineCounters, EngineGauges


@dataclass(frozen=True, slots=True)
class Scrape:
    gauges: EngineGauges
    counters: EngineCounters
    missing: tuple[str, ...] = ()  # the fields that the engine did not tell
