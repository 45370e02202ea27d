"""The files from which Envoy learns, while it runs, what there is: listener, routes, clusters with their endpoints, secrets.

Called by the daemon whenever the fleet's models or engines change; Envoy goes on with the last files when the daemon is dead.
A file is replaced by rename and only when its content changed. Never talks to Envoy.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from controlplane.errors import ConfigurationError
from controlplane.gateway.cluster_config import cluster
from controlplane.gateway.facts import GatewayModels, GatewaySettings
from controlplane.gateway.listener_config import KEY_CHECK_FILE, key_check, listener
from controlplane.gateway.route_config import route_configuration
from controlplane.gateway.tls_config import TYPE, secret_files


class XdsFiles:
    """Owner of the xds directory of one gateway."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._dir = settings.xds_dir
        self._clusters = self._read_clusters()  # as last written, by whichever life of the daemon

    def write_static(self) -> None:
        """What depends on settings and signing keys only: before Envoy starts, and whenever they changed.

        Raises ConfigurationError when the key set cannot be used; Envoy then keeps the last one.
        """
        for name, secret in secret_files(self._settings).items():
            self._replace(
                Path("sds") / name, [{"@type": f"{TYPE}envoy.extensions.transport_sockets.tls.v3.Secret", **secret}]
            )
        self._replace(Path(KEY_CHECK_FILE), [key_check(self._jwks())])
        self._replace(Path("lds.json"), [listener(self._settings)])

    def ensure_present(self) -> None:
        """Give a first Envoy something to start with; the last known models and engines are kept when there are some."""
        if not all((self._dir / name).exists() for name in ("cds.json", "rds.json")):
            self.apply(GatewayModels())

    def apply(self, models: GatewayModels) -> bool:
        """Make Envoy see exactly these models and engines; True when something changed.

        What is added appears as cluster first and then as route, what is removed goes the other way, so that no route ever
        names a cluster which is not there.
        """
        wanted = {model.cluster: cluster(self._settings, model) for model in models.models}
        changed = self._write_clusters({**self._clusters, **wanted})
        changed |= self._replace(Path("rds.json"), [route_configuration(models)])
        changed |= self._write_clusters(wanted)
        self._clusters = wanted
        return changed

    def _jwks(self) -> str:
        path = self._settings.jwks_path
        problem = "it holds no key"
        try:
            text = path.read_text(encoding="utf-8")
            if json.loads(text)["keys"]:
                return text
        except (OSError, ValueError, KeyError, TypeError) as error:
            problem = str(error)
        raise ConfigurationError(f"gateway: {path} is not a JSON Web Key Set that can be used: {problem}")

    def _read_clusters(self) -> dict[str, dict[str, Any]]:
        try:
            written = json.loads((self._dir / "cds.json").read_text(encoding="utf-8"))
            return {cluster["name"]: cluster for cluster in written["resources"]}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _write_clusters(self, clusters: dict[str, dict[str, Any]]) -> bool:
        return self._replace(Path("cds.json"), [clusters[name] for name in sorted(clusters)])

    def _replace(self, name: Path, resources: list[dict[str, Any]]) -> bool:
        body = json.dumps(resources, sort_keys=True)
        version = hashlib.sha256(body.encode()).hexdigest()[:16]
        text = f'{{"version_info": "{version}", "resources": {body}}}\n'
        path = self._dir / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            if path.read_text(encoding="utf-8") == text:
                return False
        except FileNotFoundError:
            pass
        fresh = path.with_suffix(".tmp")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
        return True
