"""The original weights, and the file of the network's code that reads them."""

from __future__ import annotations

import inspect
import re
from io import BytesIO
from pathlib import Path

import torch
from bioimageio.spec.model.v0_5 import ArchitectureFromFileDescr, Identifier, PytorchStateDictWeightsDescr, Version
from bioimageio.spec.utils import get_sha256

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.model import architecture as shape_module
from eseg_zoo.model import dense

_IMPORT = re.compile(r"^from eseg_zoo\.model\.architecture import .*\n+", re.MULTILINE)


def to_state_dict(checkpoint: Checkpoint, folder: Path) -> PytorchStateDictWeightsDescr:
    """Write the state dict and its architecture file into `folder`; return their description."""
    weights, architecture = folder / "weights_state_dict.pt", folder / "dense.py"
    file = BytesIO()
    torch.save({name: value.clone() for name, value in checkpoint.segmenter_state.items()}, file)
    weights.write_bytes(file.getvalue())
    architecture.write_text(network_source(), encoding="utf-8")
    return PytorchStateDictWeightsDescr(
        source=weights,
        sha256=get_sha256(weights),
        architecture=ArchitectureFromFileDescr(
            source=architecture,
            sha256=get_sha256(architecture),
            callable=Identifier(dense.DenseSegmenter.__name__),
            kwargs=checkpoint.architecture.arguments(),
        ),
        pytorch_version=Version(torch.__version__.split("+")[0]),
    )


def network_source() -> str:
    """Return the code of the network in one file: that of its shape stands where `dense.py` imports it."""
    _, _, shape = inspect.getsource(shape_module).partition("from __future__ import annotations\n")
    source, count = _IMPORT.subn(lambda _: shape.lstrip("\n") + "\n\n", inspect.getsource(dense))
    assert count == 1, "dense.py imports its shape in one line"
    return source
