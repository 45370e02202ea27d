"""The console's colours: three themes, told apart by blue and orange so that colour-blind operators see the same.

`StokerApp` registers them. A tone (see `console.widgets.spans`) takes its colour from the variable `tone-…` of the theme.
Colour is never the only sign: every state has a symbol and a word too. NO_COLOR is Textual's own: it turns all to grey.
"""

from textual.theme import Theme

DEFAULT_THEME = "stoker-dark"


def _theme(
    name: str,
    *,
    dark: bool,
    background: str,
    raised: str,
    foreground: str,
    dim: str,
    track: str,
    rule: str,
    accent: str,
    good: str,
    warn: str,
    bad: str,
    cursor: str,
) -> Theme:
    variables = {
        "tone-plain": foreground,
        "tone-strong": foreground,
        "tone-dim": dim,
        "tone-good": good,
        "tone-warn": warn,
        "tone-bad": bad,
        "tone-accent": accent,
        "tone-track": track,
        "rule": rule,
        "raised": raised,
        "cursor": cursor,
        "on-alarm": background,
        "border": accent,
        "block-cursor-background": cursor,
        "block-cursor-foreground": foreground,
        "block-cursor-text-style": "none",
        "block-cursor-blurred-background": raised,
        "block-cursor-blurred-foreground": foreground,
        "block-hover-background": raised,
        "input-cursor-background": accent,
        "input-cursor-foreground": background,
        "input-selection-background": cursor,
        "scrollbar": rule,
        "scrollbar-hover": dim,
        "scrollbar-active": accent,
        "scrollbar-background": background,
        "scrollbar-background-hover": background,
        "scrollbar-background-active": background,
        "scrollbar-corner-color": background,
        "footer-background": raised,
        "footer-foreground": foreground,
        "footer-key-foreground": accent,
        "footer-description-foreground": dim,
        "link-color": foreground,
    }
    return Theme(
        name=name,
        primary=accent,
        secondary=good,
        warning=warn,
        error=bad,
        success=good,
        accent=accent,
        foreground=foreground,
        background=background,
        surface=background,
        panel=raised,
        dark=dark,
        text_alpha=1.0,
        variables=variables,
    )


THEMES = (
    _theme(
        "stoker-dark",
        dark=True,
        background="#0f1318",
        raised="#191f27",
        foreground="#d6dce3",
        dim="#84909d",
        track="#3b4551",
        rule="#2b333d",
        accent="#62b1ff",
        good="#5fb8c9",
        warn="#f2b04b",
        bad="#ff7a52",
        cursor="#20344a",
    ),
    _theme(
        "stoker-light",
        dark=False,
        background="#fcfbf8",
        raised="#efede7",
        foreground="#1d242c",
        dim="#5d6772",
        track="#c3c8cd",
        rule="#d9d6ce",
        accent="#0a5fb4",
        good="#00687a",
        warn="#8f5600",
        bad="#b42d00",
        cursor="#d3e4f6",
    ),
    _theme(
        "stoker-high-contrast",
        dark=True,
        background="#000000",
        raised="#1a1a1a",
        foreground="#ffffff",
        dim="#cfcfcf",
        track="#8a8a8a",
        rule="#8a8a8a",
        accent="#7cc7ff",
        good="#7fe3f0",
        warn="#ffd23f",
        bad="#ff9f80",
        cursor="#00458a",
    ),
)


def theme_named(name: str) -> str | None:
    """The full name of a theme for what people type: "dark", "light", "high-contrast", "contrast"; None: there is none."""
    word = name.strip().lower()
    matching = [theme.name for theme in THEMES if word in (theme.name, theme.name.removeprefix("stoker-"))]
    matching += [theme.name for theme in THEMES if word and word in theme.name]
    return matching[0] if matching else None
