"""The highest leader epoch that this agent ever heard of, on disk, so that a restart does not obey an older leader.

Written by `session_runner` before the command that brought the epoch is carried out; read once at start.
"""

import json
from pathlib import Path

import structlog

from node_agent.link.files import private_directory, write_atomically

_log = structlog.get_logger(__name__)


class EpochFile:
    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "session.json"

    def load(self) -> int:
        """0 when nothing was ever saved. A damaged file counts as that too: better led than unreachable."""
        try:
            saved = json.loads(self._path.read_bytes())
            epoch = saved["leader_epoch_seen"]
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("epoch_unreadable", path=str(self._path), error=str(error))
            return 0
        return epoch if isinstance(epoch, int) and epoch >= 0 else 0

    def save(self, epoch: int) -> None:
        """Durable when it returns. Raises OSError."""
        private_directory(self._path.parent)
        write_atomically(self._path, json.dumps({"leader_epoch_seen": epoch}).encode())
