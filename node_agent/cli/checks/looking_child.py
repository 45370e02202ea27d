"""A program of its own: looks at what the agent itself must not load. Prints one JSON object a line, as soon as it knows.

Run by the checks, with the standard library and what it looks for. A driver that hangs, or an import that crashes, is so
ended with it, and what was found before is kept.

    python looking_child.py engine             with the engine environment's Python: vLLM, torch and its devices
    python looking_child.py driver FOLDER      with the agent's: NVML; FOLDER is where pynvml lies
"""

import importlib
import json
import platform
import sys


def main() -> None:
    match sys.argv[1:]:
        case ["engine"]:
            engine()
        case ["driver", folder]:
            sys.path.insert(0, folder)
            driver()
        case _:
            sys.exit("usage: looking_child.py engine | driver FOLDER")


def engine() -> None:
    tell(python=platform.python_version())
    torch = importlib.import_module("torch")
    tell(torch=str(torch.__version__))
    if torch.cuda.is_available():
        tell(devices=[torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())])
    else:
        tell(devices=[])
    vllm = importlib.import_module("vllm")
    tell(vllm=str(vllm.__version__))


def driver() -> None:
    pynvml = importlib.import_module("pynvml")
    try:
        pynvml.nvmlInit()
        tell(driver=str(pynvml.nvmlSystemGetDriverVersion()), devices_count=int(pynvml.nvmlDeviceGetCount()))
    except pynvml.NVMLError as error:
        tell(problem=str(error))


def tell(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
