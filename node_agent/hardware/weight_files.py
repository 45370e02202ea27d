"""How large a model's weights are, by its safetensors files. Called by `monitor` in a thread; reads headers only.

This is what the files hold, not what a device does: another `--dtype` or quantising while loading makes it differ. So it
only stands in until the engine itself has told.
"""

import json
import os
import re
from pathlib import Path

_INDEX = "model.safetensors.index.json"
# The header's own length stands before it, in eight bytes.
_LENGTH_BYTES = 8
_INDEX_BYTES_MAX = 64 * 2**20
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def weights_on_disk_bytes(source: str, environ: dict[str, str]) -> int | None:
    """`source`: a folder, or a model's id, whose files are then in the hub's cache. None when they are not there."""
    try:
        folder = _folder(source, environ)
        if folder is None:
            return None
        files = _files(folder)
        return sum(_body_bytes(path) for path in files) if files else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _folder(source: str, environ: dict[str, str]) -> Path | None:
    if Path(source).is_dir():
        return Path(source)
    if _HUB_ID.fullmatch(source) is None:
        return None
    home = environ.get("HF_HOME") or str(Path(environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    hub = Path(environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()
    model = hub / f"models--{source.replace('/', '--')}"
    revision = (model / "refs" / "main").read_text().strip()
    return model / "snapshots" / revision


def _files(folder: Path) -> list[Path]:
    """Those that the index names. Without one all but a second copy in another vendor's arrangement."""
    index = folder / _INDEX
    if index.exists() and index.stat().st_size <= _INDEX_BYTES_MAX:
        names = set(json.loads(index.read_text())["weight_map"].values())
        # A name only, or the index could point anywhere.
        return [folder / name for name in sorted(names) if os.path.basename(name) == name]  # noqa: PTH119 - not a path
    files = sorted(folder.glob("*.safetensors"))
    own = [path for path in files if not path.name.startswith("consolidated")]
    return own or files


def _body_bytes(path: Path) -> int:
    """A file is the header's length, the header, and then nothing but the tensors."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    body = size - _LENGTH_BYTES - header
    if body < 0:
        raise ValueError(f"{path} is cut off")
    return body
