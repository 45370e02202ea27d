"""A program of its own: looks at the devices, or measures one, with torch. Prints one line of JSON.

Run by `probes.child` with the engine environment's Python, so that the agent never holds torch or device memory. It
imports torch and the standard library only, nothing of Stoker: that environment does not have it.

    python roofline_child.py devices
    python roofline_child.py roofline cuda:0 10      measures for about 10 seconds
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

_COPY_BYTES = {"cpu": 256 * 2**20, "cuda": 2 * 2**30}
_SIDE_FIRST = 256
_SIDE_LAST = {"cpu": 4096, "cuda": 8192}
# Long enough that a clock read and a launch do not count.
_ROUND_SECONDS_MIN = 0.02
# The most of a device's free memory that the measurement may take.
_MEMORY_SHARE = 0.25


def main() -> None:
    match sys.argv[1:]:
        case ["devices"]:
            answer: dict[str, Any] = {"devices": devices()}
        case ["roofline", device_id, seconds]:
            answer = roofline(device_id, float(seconds))
        case _:
            sys.exit("usage: roofline_child.py devices | roofline DEVICE SECONDS")
    versions = {
        "torch_version": str(torch.__version__),
        "runtime_version": str(torch.version.cuda or torch.version.hip or ""),
    }
    sys.stdout.write(json.dumps({**versions, **answer}) + "\n")


def devices() -> list[dict[str, Any]]:
    if torch.cuda.is_available():
        family = "rocm" if torch.version.hip else "cuda"
        return [_gpu(index, family) for index in range(torch.cuda.device_count())]
    return [
        {"device_id": "cpu:0", "kind": _cpu_name(), "family": "cpu", "memory_bytes": _memory_bytes()},
    ]


def roofline(device_id: str, seconds: float) -> dict[str, Any]:
    """Everything within `seconds`, which begin when torch is loaded. Each measurement may take an equal part of what is
    left, so that one that needs less leaves more to the others.
    """
    deadline = time.perf_counter() + seconds
    family, _, index = device_id.partition(":")
    # torch speaks of AMD's devices as cuda, too.
    device = torch.device("cpu") if family == "cpu" else torch.device("cuda", int(index))
    kinds = _products(device)
    transfers, reached = {}, {}
    left = len(kinds) + 2
    for name, transfer in (("read", _read), ("copy", _copy)):
        transfers[name] = _bytes_per_second(transfer, device, _share(deadline, left))
        left -= 1
    for dtype, product in kinds.items():
        # Some devices cannot do some types.
        with contextlib.suppress(RuntimeError, NotImplementedError, TypeError):
            reached[dtype] = _flops_per_second(product, device, _share(deadline, left))
        left -= 1
    return {
        "uuid": _uuid(device, family),
        "flops_per_second": reached,
        "read_bytes_per_second": transfers["read"],
        "copy_bytes_per_second": transfers["copy"],
    }


def _share(deadline: float, parts: int) -> float:
    return max(0.0, deadline - time.perf_counter()) / parts


def _products(device: torch.device) -> dict[str, Callable[[int], Callable[[], object]]]:
    """For each type: what makes the product of two square matrices with a given side."""
    kinds = {"float32": _plain(device, torch.float32), "bfloat16": _plain(device, torch.bfloat16)}
    if device.type == "cuda":
        kinds["float16"] = _plain(device, torch.float16)
        if torch.version.hip is None and torch.cuda.get_device_capability(device) >= (8, 9):
            kinds["float8_e4m3"] = _eight_bits(device)
    return kinds


def _plain(device: torch.device, dtype: Any) -> Callable[[int], Callable[[], object]]:
    def make(side: int) -> Callable[[], object]:
        # Random, because zeros draw less power and would flatter the device.
        one = torch.randn(side, side, device=device).to(dtype)
        other = torch.randn(side, side, device=device).to(dtype)
        out = torch.empty(side, side, device=device, dtype=dtype)
        return lambda: torch.mm(one, other, out=out)

    return make


def _eight_bits(device: torch.device) -> Callable[[int], Callable[[], object]]:
    def make(side: int) -> Callable[[], object]:
        one = torch.randn(side, side, device=device).to(torch.float8_e4m3fn)
        other = torch.randn(side, side, device=device).to(torch.float8_e4m3fn).t()
        scale = torch.ones((), device=device)
        scaled_mm = torch._scaled_mm  # noqa: SLF001 - torch's only product of this type has no public name yet
        return lambda: scaled_mm(one, other, scale_a=scale, scale_b=scale, out_dtype=torch.bfloat16)

    return make


def _flops_per_second(make: Callable[[int], Callable[[], object]], device: torch.device, seconds: float) -> float:
    """Grows the matrices until one product takes long enough, then the best of what fits into the time."""
    deadline = time.perf_counter() + seconds
    side, best = _SIDE_FIRST, 0.0
    while True:
        product = make(side)
        _timed(product, device)  # the first call chooses and loads its kernel
        took = _timed(product, device)
        best = max(best, 2.0 * side**3 / took)
        # Twice the side takes about eight times as long, twice, and its matrices have to be made.
        grows = side < _SIDE_LAST[device.type] and took < _ROUND_SECONDS_MIN
        if not grows or time.perf_counter() + 20 * took > deadline:
            break
        side *= 2
    while time.perf_counter() + took < deadline:
        took = _timed(product, device)
        best = max(best, 2.0 * side**3 / took)
    return best


def _bytes_per_second(
    transfer: Callable[[torch.device, int], tuple[Callable[[], object], int]], device: torch.device, seconds: float
) -> float:
    deadline = time.perf_counter() + seconds
    size = _COPY_BYTES[device.type]
    if device.type == "cuda":
        size = min(size, int(torch.cuda.mem_get_info(device)[0] * _MEMORY_SHARE / 2))
    work, moved = transfer(device, size // 4 * 4)
    best, took = 0.0, 0.0
    _timed(work, device)
    while best == 0.0 or time.perf_counter() + took < deadline:
        took = _timed(work, device)
        best = max(best, moved / took)
    return best


def _read(device: torch.device, size: int) -> tuple[Callable[[], object], int]:
    """As a decoding step reads weights: everything once, almost nothing written."""
    source = torch.ones(size // 4, dtype=torch.float32, device=device)
    return source.sum, size


def _copy(device: torch.device, size: int) -> tuple[Callable[[], object], int]:
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.zeros(size, dtype=torch.uint8, device=device)
    return lambda: target.copy_(source), 2 * size  # read and written


def _timed(work: Callable[[], object], device: torch.device) -> float:
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def _gpu(index: int, family: str) -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(index)
    return {
        "device_id": f"{family}:{index}",
        "kind": properties.name,
        "family": family,
        "memory_bytes": properties.total_memory,
        "driver_version": _first_line(
            "/sys/module/nvidia/version" if family == "cuda" else "/sys/module/amdgpu/version"
        ),
        "compute_capability": f"{properties.major}.{properties.minor}",
        "uuid": _uuid(torch.device("cuda", index), family),
    }


def _uuid(device: torch.device, family: str) -> str:
    """Of this very board, as NVIDIA's tools write it; "" for a CPU, and where torch does not tell."""
    told = "" if device.type == "cpu" else str(getattr(torch.cuda.get_device_properties(device), "uuid", ""))
    return f"GPU-{told.removeprefix('GPU-')}" if told and family == "cuda" else told


def _cpu_name() -> str:
    for line in _text("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return f"{line.partition(':')[2].strip()} ({os.cpu_count()} threads)"
    return f"CPU ({os.cpu_count()} threads)"


def _memory_bytes() -> int:
    """What this machine has, or what its container may use."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _first_line("/sys/fs/cgroup/memory.max")
    return min(total, int(limit)) if limit.isdigit() else total


def _first_line(path: str) -> str:
    return (_text(path).splitlines() or [""])[0].strip()


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


if __name__ == "__main__":
    main()
