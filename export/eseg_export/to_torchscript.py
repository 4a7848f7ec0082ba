"""TorchScript: what ilastik, QuPath and deepImageJ run."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import torch
from bioimageio.spec.model.v0_5 import TorchscriptWeightsDescr, Version
from bioimageio.spec.utils import get_sha256

from eseg_export.tracing import example_image, folded_segmenter, known_warnings
from eseg_zoo.checkpoint import Checkpoint


def to_torchscript(checkpoint: Checkpoint, folder: Path) -> TorchscriptWeightsDescr:
    """Write the network into `folder`, traced and frozen; return its description."""
    # Traced and frozen, never scripted: a scripted interpolate of torch 2.13 does not load in torch 2.5.
    with known_warnings(), torch.no_grad():
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            folded_segmenter(checkpoint), example_image(checkpoint), check_trace=False
        )
        frozen = torch.jit.freeze(traced)
        file = BytesIO()
        torch.jit.save(frozen, file)
    weights = folder / "weights.pt"
    weights.write_bytes(_without_paths(file.getvalue()))
    return TorchscriptWeightsDescr(
        source=weights,
        sha256=get_sha256(weights),
        parent="pytorch_state_dict",
        pytorch_version=Version(torch.__version__.split("+")[0]),
        comment="Traced and frozen; weight standardisation folded into the convolutions.",
    )


def _without_paths(archive: bytes) -> bytes:
    """Return the saved network without the records that say in which files on this disk its code was."""
    stripped = BytesIO()
    with ZipFile(BytesIO(archive)) as whole, ZipFile(stripped, "w") as rest:  # nothing is compressed, as torch wants it
        for name in whole.namelist():
            if not name.endswith(".debug_pkl"):
                rest.writestr(ZipInfo(name), whole.read(name))
    return stripped.getvalue()
