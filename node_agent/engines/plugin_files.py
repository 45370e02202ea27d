"""Puts the plug-in where vLLM finds it: a folder of its own, which is all that engines get of Stoker's code.

Called by the composition root once, at the agent's start. The folder is named by its content: an engine that runs on an
older one keeps it, and installing again changes nothing. Written beside its place and renamed, so it is whole or absent.
"""

import contextlib
import shutil
import tempfile
from hashlib import blake2b
from importlib import resources
from pathlib import Path

from node_agent.vllm_plugins.wire import PLUGIN_VERSION

PACKAGE = "stoker_vllm"
MIDDLEWARE = f"{PACKAGE}.middleware.RequestMiddleware"
PLUGIN_NAME = "stoker"
FOLDER_NAME = "vllm-plugins"

_ENTRY_POINTS = f"[vllm.stat_logger_plugins]\n{PLUGIN_NAME} = {PACKAGE}.stat_logger:StokerStatLogger\n"
_METADATA = f"Metadata-Version: 2.1\nName: stoker-vllm\nVersion: {PLUGIN_VERSION}\n"
_OURS = "from controlplane.proto.prefix_text import"
_BESIDE = "from .prefix_text import"


def install(state_dir: Path) -> Path:
    """The folder to put on the engine's PYTHONPATH. Raises OSError when it cannot be written."""
    files = plugin_files()
    parent = state_dir / FOLDER_NAME
    place = parent / _fingerprint(files)
    if _is_whole(place, files):
        return place
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".new-", dir=parent))
    try:
        for name, content in files.items():
            path = draft / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        if place.exists():
            # Somebody changed it; an engine that runs has read it already.
            place.rename(draft.with_name(f"{draft.name}-spoiled"))
            shutil.rmtree(draft.with_name(f"{draft.name}-spoiled"), ignore_errors=True)
        with contextlib.suppress(FileExistsError):
            draft.rename(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return place


def plugin_files() -> dict[str, bytes]:
    """Each file's path below the folder, and what is in it."""
    files = {}
    for source in resources.files("node_agent.vllm_plugins").iterdir():
        if source.name.endswith(".py"):
            files[f"{PACKAGE}/{source.name}"] = source.read_text("utf-8").replace(_OURS, _BESIDE).encode()
    prefix_text = resources.files("controlplane.proto") / "prefix_text.py"
    files[f"{PACKAGE}/prefix_text.py"] = prefix_text.read_bytes()
    info = f"{PACKAGE}-{PLUGIN_VERSION}.dist-info"
    return files | {f"{info}/METADATA": _METADATA.encode(), f"{info}/entry_points.txt": _ENTRY_POINTS.encode()}


def _fingerprint(files: dict[str, bytes]) -> str:
    digest = blake2b(digest_size=8)
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + files[name] + b"\0")
    return f"{PLUGIN_VERSION}-{digest.hexdigest()}"


def _is_whole(place: Path, files: dict[str, bytes]) -> bool:
    try:
        return all((place / name).read_bytes() == content for name, content in files.items())
    except OSError:
        return False
