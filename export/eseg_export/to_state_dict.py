"""The original weights, and the file of the network's code that reads them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import torch
from bioimageio.spec.model.v0_5 import ArchitectureFromFileDescr, Identifier, PytorchStateDictWeightsDescr, Version
from bioimageio.spec.utils import get_sha256

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.model import dense


def to_state_dict(checkpoint: Checkpoint, folder: Path) -> PytorchStateDictWeightsDescr:
    """Write the state dict and its architecture file into `folder`; return their description."""
    weights, architecture = folder / "weights_state_dict.pt", folder / "dense.py"
    file = BytesIO()
    torch.save({name: value.clone() for name, value in checkpoint.segmenter_state.items()}, file)
    weights.write_bytes(file.getvalue())
    architecture.write_bytes(Path(dense.__file__).read_bytes())
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
