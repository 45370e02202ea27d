"""`stoker.toml` in the data directory: says that the directory is ours, and which release made it.

Called by `services.initialise` and by bootstrap at start. Never guesses: a directory without it is not ours.
"""

import tomllib
from dataclasses import dataclass

from controlplane.identity.files import DataDirectoryError, read_public, write_public
from controlplane.identity.layout import DataLayout

FORMAT = 1  # of the data directory's layout; grows when an older release could not read it


@dataclass(frozen=True, slots=True)
class Marker:
    version: str  # of the release that initialised the directory
    complete: bool  # False: `init` was interrupted, and can be run again
    format: int = FORMAT


def write_marker(layout: DataLayout, marker: Marker) -> None:
    text = (
        "# Stoker's data directory. Written by `stoker-controlplane init`; do not edit.\n"
        f'format = {marker.format}\nversion = "{marker.version}"\ncomplete = {str(marker.complete).lower()}\n'
    )
    write_public(layout.marker, text.encode())


def read_marker(layout: DataLayout) -> Marker | None:
    """None: the directory was never initialised. Raises DataDirectoryError when the marker makes no sense here."""
    if not layout.marker.exists():
        return None
    try:
        values = tomllib.loads(read_public(layout.marker).decode())
        marker = Marker(str(values["version"]), values["complete"] is True, int(values["format"]))
    except (ValueError, KeyError, TypeError) as error:
        raise DataDirectoryError(f"{layout.marker} is damaged: restore it from a backup") from error
    if marker.format > FORMAT:
        raise DataDirectoryError(
            f"{layout.root} was made by Stoker {marker.version[:40]!a}, which is newer: run that release or a later one"
        )
    return marker


def require_initialised(layout: DataLayout) -> Marker:
    """Raises DataDirectoryError, saying what to do, unless `init` has finished here."""
    marker = read_marker(layout)
    if marker is None or not marker.complete:
        how = "is not a data directory of Stoker" if marker is None else "was initialised only in part"
        raise DataDirectoryError(
            f"{layout.root} {how}: run `stoker-controlplane init --data-dir {layout.root}`, "
            "or name the right --data-dir"
        )
    return marker
