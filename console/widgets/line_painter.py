"""Turns `Line`s into the strips that Textual draws, with the theme's colour for each tone.

`FleetTable` is one. It knows tones and grounds, nothing of rows.
"""

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.scroll_view import ScrollView
from textual.strip import Strip

from console.widgets.spans import Line, Tone, is_bold

GROUNDS = ("header", "cursor", "hover")


class LinePainter(ScrollView):
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        *(f"fleet-table--{ground}" for ground in GROUNDS),
        *(f"fleet-table--{tone.value}" for tone in Tone),
    }

    def painted(self, line: Line, width: int, ground: str = "") -> Strip:
        """The line in exactly `width` cells, on one of GROUNDS or on the widget's own."""
        base = self.rich_style
        if ground:
            base += self.get_component_rich_style(f"fleet-table--{ground}", partial=True)
        segments = [Segment(text, base + self._tone_style(tone)) for text, tone in line]
        return Strip(segments).adjust_cell_length(width, base)

    def _tone_style(self, tone: Tone) -> Style:
        style = self.get_component_rich_style(f"fleet-table--{tone.value}", partial=True)
        return style + Style(bold=True) if is_bold(tone) else style
