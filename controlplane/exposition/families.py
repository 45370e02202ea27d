"""Metric families in the making: samples under names of a catalogue, and both text formats of them.

Called by what fills a page. The formats are written here, line by line, because a page of a large fleet has ten thousand
lines and prometheus_client's writers make objects of each. Never invents a name: what no catalogue has cannot be exported.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client.metrics_core import Metric

from controlplane.exposition.catalogue import Entry, Kind
from controlplane.runtime.time_histogram import TimeHistogram

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text"
OPENMETRICS_TYPE = f"{OPENMETRICS}; version=1.0.0; charset=utf-8"
LABEL_LENGTH_MAX = 200


def labelled(names: Sequence[str], values: Sequence[str]) -> str:
    """`a="x",b="y"`. Names of models, tenants and places come from people, clouds and nodes: nothing of them may end a line."""
    return ",".join([f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True)])


class Families:
    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = {entry.name: entry for entry in entries}
        self._lines: dict[str, list[str]] = {}

    def put(self, name: str, value: float | None, *labels: str) -> None:
        """A gauge or a counter. None is not known, and is no sample."""
        if value is not None:
            self.put_labelled(name, value, labelled(self._entries[name].labels, labels))

    def put_labelled(self, name: str, value: float | None, labels: str) -> None:
        """The same with labels that `labelled` has written: for many samples of one group."""
        if value is None:
            return
        lines = self._lines.get(name)
        if lines is None:
            lines = self._begun(name)
        number = int(value) if isinstance(value, bool) else value  # both formats read Python's numbers
        lines.append(f"{name}{{{labels}}} {number}\n" if labels else f"{name} {number}\n")

    def put_histogram(self, name: str, histogram: TimeHistogram, *labels: str) -> None:
        lines, named = self._begun(name), labelled(self._entries[name].labels, labels)
        bounds = [*histogram.bounds_seconds, "+Inf"]
        before, around = (f"{named},", f"{{{named}}}") if named else ("", "")
        count = 0
        for bound, count in zip(bounds, accumulate(histogram.counts), strict=True):
            lines.append(f'{name}_bucket{{{before}le="{bound}"}} {count}\n')
        lines.append(f"{name}_sum{around} {histogram.sum_seconds}\n")
        lines.append(f"{name}_count{around} {count}\n")

    def put_all(self, metrics: Iterable[Metric]) -> None:
        """Families without labels that prometheus_client made itself; those that the catalogue lacks are left out."""
        for metric in metrics:
            for sample in metric.samples:
                if sample.name in self._entries:
                    self.put(sample.name, sample.value)

    def written(self, accept: str) -> tuple[str, bytes]:
        """Content type and body: OpenMetrics for those who name it, else the text format that everybody reads."""
        if OPENMETRICS in accept:
            return OPENMETRICS_TYPE, f"{self._text(openmetrics=True)}# EOF\n".encode()
        return TEXT_TYPE, self._text(openmetrics=False).encode()

    def _begun(self, name: str) -> list[str]:
        if name not in self._entries:
            raise KeyError(f"{name} is in no catalogue")
        return self._lines.setdefault(name, [])

    def _text(self, *, openmetrics: bool) -> str:
        """In the catalogue's order; families without a sample are not told of."""
        parts: list[str] = []
        for name, entry in self._entries.items():
            lines = self._lines.get(name)
            if lines:
                family, kind = _head(entry) if openmetrics else (name, _PLAIN_KINDS.get(entry.kind, entry.kind.value))
                parts.append(f"# HELP {family} {_escaped(entry.meaning)}\n# TYPE {family} {kind}\n")
                parts += lines
        return "".join(parts)


_PLAIN_KINDS = {Kind.INFO: "gauge"}  # the older format does not know it


def _head(entry: Entry) -> tuple[str, str]:
    """OpenMetrics names a family without the suffix of its samples."""
    suffix = {Kind.COUNTER: "_total", Kind.INFO: "_info"}.get(entry.kind, "")
    return entry.name.removesuffix(suffix), entry.kind.value


def _escaped(text: str) -> str:
    """As both formats ask, and bounded; what cannot be written as UTF-8 is replaced."""
    if len(text) > LABEL_LENGTH_MAX:
        text = text[:LABEL_LENGTH_MAX]
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    if "\\" in text or '"' in text or "\n" in text:
        text = text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return text
