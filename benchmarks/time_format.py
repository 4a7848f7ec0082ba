"""CPU seconds of a pass over planes, in whatever runtime runs this: FILE CALLS SIDE...

FILE is exported weights, .onnx or .pt, or a .checkpoint for `eseg predict`. Prints the runtime's version, and for each
side the seconds of the fastest call. Reads on Python 3.8.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, Callable  # noqa: UP035 - that of collections.abc takes no arguments in Python 3.8

import numpy as np

Call = Callable[[], Any]
Runtime = Callable[[int], Call]


def torchscript(path: str) -> tuple[str, Runtime]:
    """Return the version of this torch, and what makes the call for a side."""
    import torch

    torch.set_num_threads(1)
    network = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]

    def on(side: int) -> Call:
        image = torch.from_numpy(_image(side))
        return lambda: network(image)

    torch.set_grad_enabled(False)
    return str(torch.__version__), on


def onnx(path: str) -> tuple[str, Runtime]:
    """Return the version of this ONNX Runtime, and what makes the call for a side."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def on(side: int) -> Call:
        feed = {session.get_inputs()[0].name: _image(side)}
        return lambda: session.run(None, feed)

    return onnxruntime.__version__, on


def predict(path: str) -> tuple[str, Runtime]:
    """Return the version of torch, and what makes the call of `eseg predict` for a side."""
    import torch

    from eseg_zoo.checkpoint import Checkpoint
    from ways import eseg_predict

    torch.set_num_threads(1)
    checkpoint = Checkpoint.load(Path(path))
    return str(torch.__version__), lambda side: eseg_predict(checkpoint, (side, side))[0]


def fastest(call: Call, calls: int) -> float:
    """Return the CPU seconds of the fastest of some calls, after one to warm up."""
    call()
    seconds = []
    for _ in range(calls):
        started = time.process_time()
        call()
        seconds.append(time.process_time() - started)
    return min(seconds)


def _image(side: int) -> Any:
    return (np.random.default_rng(0).random((1, 1, side, side)) * 255).astype(np.float32)


if __name__ == "__main__":
    file, count, *sides = sys.argv[1:]
    found, runtime = {".onnx": onnx, ".pt": torchscript, ".checkpoint": predict}[Path(file).suffix](file)
    print(found, *(fastest(runtime(int(side)), int(count)) for side in sides))
