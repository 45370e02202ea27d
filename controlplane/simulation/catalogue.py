"""Well-known devices and models, by name: what a scenario or a what-if may call by one word. Pure.

Devices are vendors' datasheet figures, dense, for 16-bit maths; models are their published shapes.
"""

from dataclasses import dataclass

from controlplane.simulation.engine_model import DeviceCeilings, ModelShape


@dataclass(frozen=True, slots=True)
class KnownDevice:
    kind: str  # the vendor's name for it
    family: str
    ceilings: DeviceCeilings


def _device(kind: str, tflops: float, terabytes_per_second: float, gigabytes: int, family: str = "cuda") -> KnownDevice:
    ceilings = DeviceCeilings(tflops * 1e12, terabytes_per_second * 1e12, gigabytes * 1_000_000_000)
    return KnownDevice(kind, family, ceilings)


DEVICES = {
    "H100": _device("NVIDIA H100 80GB HBM3", 989, 3.35, 80),
    "H200": _device("NVIDIA H200", 989, 4.8, 141),
    "A100": _device("NVIDIA A100-SXM4-80GB", 312, 2.04, 80),
    "B200": _device("NVIDIA B200", 2250, 8.0, 180),
    "MI300X": _device("AMD Instinct MI300X", 1307, 5.3, 192, "rocm"),
    "L40S": _device("NVIDIA L40S", 362, 0.864, 48),
    "L4": _device("NVIDIA L4", 121, 0.3, 24),
    "A10G": _device("NVIDIA A10G", 70, 0.6, 24),
}

MODELS = {
    "llama-3-8b": ModelShape(8_030_261_248, 32, 32, 8, 128, 4096, 128_256, context_tokens_max=8192),
    "llama-3.1-8b": ModelShape(8_030_261_248, 32, 32, 8, 128, 4096, 128_256, context_tokens_max=131_072),
    "llama-3-70b": ModelShape(70_553_706_496, 80, 64, 8, 128, 8192, 128_256, context_tokens_max=8192),
    "llama-3.1-70b": ModelShape(70_553_706_496, 80, 64, 8, 128, 8192, 128_256, context_tokens_max=131_072),
    "mistral-7b": ModelShape(7_248_023_552, 32, 32, 8, 128, 4096, 32_768, context_tokens_max=32_768),
    "mixtral-8x7b": ModelShape(
        46_702_792_704, 32, 32, 8, 128, 4096, 32_000, active_parameters_count=12_879_925_248, context_tokens_max=32_768
    ),
    "qwen2.5-7b": ModelShape(7_615_616_512, 28, 28, 4, 128, 3584, 152_064, context_tokens_max=32_768),
    "qwen2.5-32b": ModelShape(32_763_876_352, 64, 40, 8, 128, 5120, 152_064, context_tokens_max=32_768),
}
