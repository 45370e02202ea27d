"""Speaks to one vLLM over its port: health, description, metrics, canary.

Made by `vllm` for the supervisor, one for each process. Holds a connection open, and reads the certificate files again
when they change. Never trusts what it gets: bodies are bounded, and anything unexpected is EngineUnreachableError.
"""

import contextlib
import json
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from node_agent.engines.engine import CanaryAnswer, EngineAccess, EngineDescription, EngineTls
from node_agent.errors import AdapterError, EngineUnreachableError
from node_agent.probes.metrics import read_metrics
from node_agent.probes.scrape import Scrape
from node_agent.vllm_plugins.wire import CANARY_HEADER

COMPLETIONS_PATH = "/v1/completions"
EMBEDDINGS_PATH = "/v1/embeddings"
SERVABLE_PATHS = ("/v1/chat/completions", COMPLETIONS_PATH, EMBEDDINGS_PATH)

_METRICS_BYTES_MAX = 8 * 1024 * 1024
_JSON_BYTES_MAX = 1024 * 1024
_REQUEST_SECONDS_MAX = 5.0
# Shorter than any KV block, so that nothing of it stays in the prefix cache.
_CANARY_PROMPT = "Hello"
_OK, _NOT_FOUND, _METHOD_NOT_ALLOWED = 200, 404, 405
_COMPLAINT_CHARACTERS_MAX = 400
_ADAPTERS_TOLD_MAX = 256
_ADAPTER_NAME_CHARACTERS_MAX = 192
# Reading an adapter's weights from a slow disk; a request beside it waits as well.
_ADAPTER_SECONDS_MAX = 120.0


class VllmClient:
    def __init__(self, access: EngineAccess, port: int, model: str, *, served_paths: tuple[str, ...] = ()) -> None:
        host = access.local_host
        self._base_url = f"{'http' if access.tls is None else 'https'}://{f'[{host}]' if ':' in host else host}:{port}"
        self._tls = access.tls
        self._model = model
        # The certificate names the host that the gateway uses, while the agent connects to the local address.
        self._extensions = {} if access.tls is None else {"sni_hostname": access.advertise_host}
        self._http: httpx.AsyncClient | None = None
        self._retired: httpx.AsyncClient | None = None
        self._files_seen: tuple[int, ...] = ()
        self._canary_path = _canary_path(served_paths)

    async def healthy(self) -> bool:
        status, _ = await self._request("GET", "/health")
        return status == _OK

    async def describe(self) -> EngineDescription:
        version = await self._json("GET", "/version")
        models = await self._json("GET", "/v1/models")
        # A GET on a route that wants POST is 405, on one that does not exist 404: costs the engine nothing.
        served = [path for path in SERVABLE_PATHS if (await self._request("GET", path))[0] == _METHOD_NOT_ALLOWED]
        self._canary_path = _canary_path(served)
        return EngineDescription(
            version=str(version.get("version", ""))[:64],
            served_paths=tuple(served),
            context_tokens_max=_context_tokens_max(models),
            adapters=_adapters(models),
        )

    async def scrape(self) -> Scrape:
        status, body = await self._request("GET", "/metrics", bytes_max=_METRICS_BYTES_MAX)
        if status != _OK:
            raise EngineUnreachableError(f"/metrics answered {status}")
        return read_metrics(body.decode("utf-8", "replace"))

    async def canary(self, *, seconds_max: float) -> CanaryAnswer:
        body: dict[str, Any] = {"model": self._model}
        if self._canary_path == EMBEDDINGS_PATH:
            body["input"] = _CANARY_PROMPT
        else:
            body |= {"prompt": _CANARY_PROMPT, "max_tokens": 1, "temperature": 0}
        answer = await self._json("POST", self._canary_path, body=body, seconds_max=seconds_max)
        usage = answer.get("usage")
        if not isinstance(usage, dict):
            raise EngineUnreachableError("the canary was answered without a usage")
        details = usage.get("prompt_tokens_details")
        return CanaryAnswer(
            prompt_tokens=_count(usage.get("prompt_tokens")),
            generation_tokens=_count(usage.get("completion_tokens")),
            cached_tokens=_count(details.get("cached_tokens")) if isinstance(details, dict) else 0,
        )

    async def load_adapter(self, name: str, source: str) -> tuple[str, ...]:
        body = {"lora_name": name, "lora_path": source, "load_inplace": True}
        status, raw = await self._request("POST", "/v1/load_lora_adapter", body=body, seconds_max=_ADAPTER_SECONDS_MAX)
        if status != _OK:
            raise AdapterError(f"vLLM does not load {name}: {_complaint(status, raw)}")
        return _adapters(await self._json("GET", "/v1/models"))

    async def unload_adapter(self, name: str) -> tuple[str, ...]:
        status, raw = await self._request("POST", "/v1/unload_lora_adapter", body={"lora_name": name})
        if status not in (_OK, _NOT_FOUND):
            raise AdapterError(f"vLLM does not unload {name}: {_complaint(status, raw)}")
        return _adapters(await self._json("GET", "/v1/models"))

    async def close(self) -> None:
        """Also to be called before the engine is stopped: vLLM waits up to 30 s for an open TLS connection to end."""
        await _end(self._http)
        await _end(self._retired)
        self._http = self._retired = None

    async def _json(
        self, method: str, path: str, *, body: dict[str, Any] | None = None, seconds_max: float = _REQUEST_SECONDS_MAX
    ) -> dict[str, Any]:
        status, raw = await self._request(method, path, body=body, seconds_max=seconds_max)
        if status != _OK:
            raise EngineUnreachableError(f"{path} answered {status}: {raw[:200].decode('utf-8', 'replace')}")
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise EngineUnreachableError(f"{path} answered something else than JSON") from error
        if not isinstance(value, dict):
            raise EngineUnreachableError(f"{path} answered something else than a JSON object")
        return value

    async def _request(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        seconds_max: float = _REQUEST_SECONDS_MAX,
        bytes_max: int = _JSON_BYTES_MAX,
    ) -> tuple[int, bytes]:
        try:
            http = await self._connected()
            async with http.stream(
                method, path, json=body, timeout=seconds_max, extensions=dict(self._extensions)
            ) as response:
                received = bytearray()
                async for part in response.aiter_raw():
                    received += part
                    if len(received) > bytes_max:
                        raise EngineUnreachableError(f"{path} answered more than {bytes_max} bytes")
                return response.status_code, bytes(received)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, RuntimeError) as error:
            # RuntimeError: the client was closed meanwhile, because the engine is being stopped.
            raise EngineUnreachableError(f"{path}: {type(error).__name__} {error}".rstrip()) from error

    async def _connected(self) -> httpx.AsyncClient:
        seen = _signature(self._tls)
        if self._http is not None and seen == self._files_seen:
            return self._http
        verify = True if self._tls is None else _ssl_context(self._tls)
        # New files, new connections. The old ones may still carry a canary, so they end one renewal later.
        await _end(self._retired)
        self._retired = self._http
        self._http = httpx.AsyncClient(
            base_url=self._base_url,
            verify=verify,
            trust_env=False,
            # Compressing costs both sides more than the loopback does.
            headers={"accept-encoding": "identity", "user-agent": "stoker-agent", CANARY_HEADER: "1"},
            limits=httpx.Limits(max_connections=4, max_keepalive_connections=1, keepalive_expiry=30.0),
        )
        self._files_seen = seen
        return self._http


async def _end(http: httpx.AsyncClient | None) -> None:
    if http is not None:
        with contextlib.suppress(httpx.HTTPError, OSError):
            await http.aclose()


def _canary_path(served_paths: Sequence[str]) -> str:
    embeds_only = EMBEDDINGS_PATH in served_paths and COMPLETIONS_PATH not in served_paths
    return EMBEDDINGS_PATH if embeds_only else COMPLETIONS_PATH


def _ssl_context(tls: EngineTls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca_path)
    context.load_cert_chain(tls.client_cert_path, tls.client_key_path)
    return context


def _signature(tls: EngineTls | None) -> tuple[int, ...]:
    if tls is None:
        return ()
    return tuple(_modified(path) for path in (tls.ca_path, tls.client_cert_path, tls.client_key_path))


def _modified(path: Path) -> int:
    return path.stat().st_mtime_ns


def _context_tokens_max(models: dict[str, Any]) -> int | None:
    try:
        value = models["data"][0]["max_model_len"]
    except (KeyError, IndexError, TypeError):
        return None
    return value if isinstance(value, int) and value > 0 else None


def _adapters(models: dict[str, Any]) -> tuple[str, ...]:
    """The models that stand on another one; LoRA is the only kind of them."""
    cards = models.get("data")
    found = [card for card in cards if isinstance(card, dict) and card.get("parent")] if isinstance(cards, list) else []
    return tuple(sorted(str(card.get("id", ""))[:_ADAPTER_NAME_CHARACTERS_MAX] for card in found))[:_ADAPTERS_TOLD_MAX]


def _complaint(status: int, raw: bytes) -> str:
    """The sentence in an answer of vLLM's own shape, or whatever came."""
    try:
        said = str(json.loads(raw)["error"]["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        said = raw.decode("utf-8", "replace")
    return "".join(filter(str.isprintable, said.replace("\n", " ")))[:_COMPLAINT_CHARACTERS_MAX] or f"status {status}"


def _count(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0
