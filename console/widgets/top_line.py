"""The lines at the top of every screen: which control plane, how good the link, who one is; where one is; what is lost.

`FleetScreen` owns one of each and hands the server row and the moment down. They ask nothing and never act.
"""

from textual import events
from textual.content import Content
from textual.message import Message
from textual.style import Style
from textual.widgets import Static

from console.model.fleet_view import Connection, ServerRow
from console.model.format import age, clean, clock_time
from console.model.overview import Moment
from console.widgets.panel import beside
from console.widgets.spans import CROSS, Line, Tone, content, css_style, say, span
from console.widgets.states import CONNECTION_LOOKS

_STEP = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} "


class TopLine(Static):
    """One line. Parts go by importance when the terminal is narrow; the state of the link never does."""

    def __init__(self, credentials_name: str, *, read_only: bool) -> None:
        super().__init__("", markup=False)
        self._name = credentials_name
        self._read_only = read_only
        self._server: ServerRow | None = None
        self._moment = Moment()
        self.line: Line = ()

    def show(self, server: ServerRow | None, moment: Moment) -> None:
        self._server, self._moment = server, moment
        self.set_class(moment.lost, "-lost")
        line = self._line()
        if line != self.line:
            self.line = line
            self.update(self._drawn(line))

    def on_resize(self) -> None:
        self.line = ()
        self.show(self._server, self._moment)

    def _line(self) -> Line:
        moment, server = self._moment, self._server
        symbol, word, tone = CONNECTION_LOOKS[moment.connection]
        quiet_for = f" {age(moment.as_of, moment.now)}" if moment.lost and moment.as_of else ""
        left: list[Line] = [
            (span(" ▲ ", Tone.WARN), span("stoker", Tone.STRONG), span("  ")),
            say(f"{symbol} {word}{quiet_for}", tone),
            say(f"  {self._name}", Tone.STRONG),
        ]
        right: list[Line] = []
        if server is not None:
            left += [
                (span("   gateway ", Tone.DIM), *_gateway(server)),
                say(f" {server.gateway_address}", Tone.DIM),
                (span("   leader epoch ", Tone.DIM), span(str(server.leader_epoch))),
            ]
            if server.database_away_since is not None:
                away = age(server.database_away_since, moment.now)
                left.insert(3, say(f"   {CROSS} database away {away}", Tone.BAD))
            right.append((span(clean(server.caller_name, length_max=20)), span(f" {server.caller_role}   ", Tone.DIM)))
        if self._read_only:
            right.insert(0, say("∅ READ-ONLY   ", Tone.WARN))
        clock = say(f"{clock_time(moment.now)} ", Tone.STRONG)
        return beside(left, tuple(part for each in (*right, clock) for part in each), self.size.width or 80)

    def _drawn(self, line: Line) -> Content:
        if self._moment.lost:  # one colour on an alarming ground: the tones would not read there
            return Content("".join(text for text, _ in line))
        return content([line])


def _gateway(server: ServerRow) -> Line:
    state = clean(server.gateway_state)
    if state == "serving":
        return span("● ", Tone.GOOD), span("serving")
    tone = Tone.WARN if state == "starting" else Tone.BAD
    return (span(f"{'◐' if tone is Tone.WARN else CROSS} {state[:24]}", tone),)


class LinkBanner(Static):
    """There only while the link is down: since when, why, and what happens next."""

    def __init__(self) -> None:
        super().__init__("", markup=False)

    def show(self, moment: Moment) -> None:
        self.display = moment.lost
        if not moment.lost:
            return
        known = f"shown is what was known at {clock_time(moment.as_of)}" if moment.as_of else "nothing is known yet"
        if moment.connection is Connection.REFUSED:
            text = f"{CROSS} REFUSED: {known}. {clean(moment.note)}"
        else:
            text = f"{CROSS} CONNECTION LOST: {known}; trying again by itself. {clean(moment.note)}"
        self.update(Content(text))


class Crumbs(Static):
    """The modes, and the way from one to here."""

    class ModeChosen(Message):
        """A click on a mode."""

        def __init__(self, mode: str) -> None:
            super().__init__()
            self.mode = mode

    def __init__(self, modes: tuple[tuple[str, str], ...]) -> None:
        """`modes` are the names and titles that the number keys lead to."""
        super().__init__("", markup=False)
        self._modes = modes

    def show(self, mode: str, trail: tuple[str, ...]) -> None:
        parts = [Content(" ")]
        for number, (name, title) in enumerate(self._modes, start=1):
            here = name == mode
            tone = css_style(Tone.STRONG) + " underline" if here else css_style(Tone.DIM)
            parts.append(Content.styled(f"{number} {title}", tone).stylize(Style.from_meta({"mode": name})))
            parts.append(Content("   "))
        steps = ((clean(place), css_style(Tone.ACCENT)) for place in trail)
        parts += [Content.assemble((_STEP, css_style(Tone.DIM)), step, " ") for step in steps]
        self.update(Content("").join(parts))

    def on_click(self, event: events.Click) -> None:
        mode = event.style.meta.get("mode")
        if isinstance(mode, str):
            self.post_message(self.ModeChosen(mode))
