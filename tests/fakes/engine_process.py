"""A stand-in for vLLM's server, run as a real process by the supervisor's tests: its routes, flags, log, metrics.

Standard library only, so that it starts in a tenth of a second. It misbehaves on demand: by `--fake-…` flags at the
start, by POST /fake {"field": value} later (see `World`). Never imported by anything.
"""

import argparse
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PROMPT_TOKENS = 3
TTFT_BOUNDS = (0.01, 0.1, 1.0)


class World:
    """What the engine holds and has done. Every field can be set over POST /fake."""

    def __init__(self) -> None:
        self.running = 0
        self.waiting = 0
        self.prompt_tokens = 0
        self.generation_tokens = 0
        self.steps = 0
        self.requests = 0
        self.kv_used_ratio = 0.0
        self.mute = False  # completions hang
        self.refuse = 0  # completions answer this status
        self.sick = False  # /health answers 503
        self.hidden: list[str] = []  # metrics that are not told
        self.metrics: str | None = None  # told instead of metrics
        self.adapters: dict[str, str] = {}
        self.exit: int | None = None
        self.log: str | None = None
        self.stir = threading.Condition()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--served-model-name")
    for name in ("certfile", "keyfile", "ca-certs"):
        parser.add_argument(f"--ssl-{name}")
    parser.add_argument("--fake-exit", type=int)
    parser.add_argument("--fake-never-ready", action="store_true")
    parser.add_argument("--fake-child", action="store_true")
    parser.add_argument("--fake-ignore-term", action="store_true")
    parser.add_argument("--fake-pooling", action="store_true")
    parser.add_argument("--fake-trial", action="store_true")
    parser.add_argument("--fake-refused", action="store_true")
    parser.add_argument("--enable-lora", action="store_true")
    options, _ = parser.parse_known_args()
    if options.fake_refused:
        say("usage: and eight hundred lines more")
        parser.error("unrecognized arguments: --fake-refused")
    if options.fake_trial:
        sys.exit(0)
    say("(APIServer pid=1) INFO 11-22 14:19:10 [x.py:1] non-default args: {}")
    if options.fake_exit is not None:
        say("ValueError: the fake was told to die \x1b[31mat once\x1b[0m")
        sys.exit(options.fake_exit)
    if options.fake_child:
        # A worker that does not die with its parent, as vLLM's do not.
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdout=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if options.fake_ignore_term else lambda *_: os._exit(0))
    say("(EngineCore pid=2) INFO 11-22 14:19:10 [x.py:1] Initializing a V1 LLM engine (v9): dtype=torch.bfloat16,")
    say("(Worker pid=3) INFO 11-22 14:19:10 [x.py:1] Starting to load model /m...")
    if options.fake_never_ready:
        threading.Event().wait()
    serve(options)


def serve(options: argparse.Namespace) -> None:
    world = World()
    handler = type("Handler", (Handler,), {"world": world, "options": options})
    server = ThreadingHTTPServer((options.host, options.port), handler)
    server.daemon_threads = True
    if options.ssl_certfile:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.ssl_certfile, options.ssl_keyfile)
        context.load_verify_locations(options.ssl_ca_certs)
        context.verify_mode = ssl.CERT_REQUIRED
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    say("INFO:     Application startup complete.")
    server.serve_forever()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    world: World
    options: argparse.Namespace

    def do_GET(self) -> None:
        match self.path:
            case "/health":
                self.answer(503 if self.world.sick else 200, b"")
            case "/version":
                self.answer_json({"version": "9.8.7"})
            case "/v1/models":
                model = self.options.served_model_name
                adapters = [{"id": name, "parent": model} for name in self.world.adapters]
                self.answer_json({"data": [{"id": model, "max_model_len": 2048, "parent": None}, *adapters]})
            case "/metrics":
                self.answer(200, (metrics(self.world) if self.world.metrics is None else self.world.metrics).encode())
            case path if path in self.served():
                self.answer(405, b"")
            case _:
                self.answer(404, b"")

    def do_POST(self) -> None:
        body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/fake":
            self.obey(body)
        elif self.path in self.served():
            self.complete(body)
        elif self.path in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter") and self.adaptable():
            self.adapt(body)
        else:
            self.answer(404, b"")

    def adaptable(self) -> bool:
        return self.options.enable_lora and os.environ.get("VLLM_ALLOW_RUNTIME_LORA_UPDATING") == "1"

    def adapt(self, body: dict[str, Any]) -> None:
        name, known = body["lora_name"], self.world.adapters
        if self.path == "/v1/unload_lora_adapter":
            self.answer(200 if known.pop(name, None) else 404, b"")
        elif "broken" in body["lora_path"]:
            self.answer(500, b'{"error": {"message": "its rank is 999,\\nwhich is more than 16"}}')
        else:
            known[name] = body["lora_path"]
            self.answer(200, b"Success")

    def served(self) -> tuple[str, ...]:
        return ("/v1/embeddings",) if self.options.fake_pooling else ("/v1/completions", "/v1/chat/completions")

    def complete(self, body: dict[str, Any]) -> None:
        world = self.world
        with world.stir:
            world.stir.wait_for(lambda: not world.mute)
            generated = 0 if self.options.fake_pooling else int(body["max_tokens"])
            world.prompt_tokens += PROMPT_TOKENS
            world.generation_tokens += generated
            world.steps += max(1, generated)
            world.requests += 1
        if world.refuse:
            self.answer(world.refuse, b'{"error": {"message": "no"}}')
        else:
            self.answer_json({"usage": {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": generated}})

    def obey(self, body: dict[str, Any]) -> None:
        with self.world.stir:
            for name, value in body.items():
                setattr(self.world, name, value)
            self.world.stir.notify_all()
        self.answer(200, b"")
        if self.world.log is not None:
            say(self.world.log)
            self.world.log = None
        if self.world.exit is not None:
            os._exit(self.world.exit)

    def answer_json(self, value: object) -> None:
        self.answer(200, json.dumps(value).encode())

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


def metrics(world: World) -> str:
    tokens = {"prompt_tokens": world.prompt_tokens, "generation_tokens": world.generation_tokens}
    values = {
        **{f"vllm:{name}_total": value for name, value in tokens.items()},
        "vllm:iteration_tokens_total_count": world.steps,
        "vllm:iteration_tokens_total_sum": world.prompt_tokens + world.generation_tokens,
        "vllm:prefix_cache_queries_total": world.prompt_tokens,
        "vllm:prefix_cache_hits_total": 0,
        "vllm:num_preemptions_total": 0,
        "vllm:request_success_total": world.requests,
        "vllm:num_requests_running": world.running,
        "vllm:num_requests_waiting": world.waiting,
        "vllm:estimated_flops_per_gpu_total": world.steps * 1e6,
        "vllm:estimated_read_bytes_per_gpu_total": world.steps * 1e3,
        "vllm:estimated_write_bytes_per_gpu_total": world.steps * 10,
        "vllm:kv_cache_usage_perc": world.kv_used_ratio,
    }
    lines = [f'{name}{{engine="0",model_name="m"}} {value}' for name, value in values.items()]
    lines.append('vllm:cache_config_info{engine="0",kv_cache_size_tokens="1000",block_size="16"} 1.0')
    for name, count in (
        ("vllm:time_to_first_token_seconds", world.requests),
        ("vllm:inter_token_latency_seconds", world.generation_tokens),
    ):
        bounds = (*TTFT_BOUNDS, "+Inf")
        lines += [f'{name}_bucket{{engine="0",le="{bound}",model_name="m"}} {count}' for bound in bounds]
        lines.append(f'{name}_sum{{engine="0",model_name="m"}} {count * 0.005}')
    return "\n".join(line for line in lines if not line.startswith(tuple(world.hidden))) + "\n"


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
