"""TorchScript: what ilastik, QuPath and deepImageJ run."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import torch
from bioimageio.spec.model.v0_5 import TorchscriptWeightsDescr, Version
from bioimageio.spec.utils import get_sha256
from torch import Tensor, nn

from eseg_export.in_tiles import InTiles
from eseg_export.tracing import Part, example_image, folded_segmenter, known_warnings
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.inference.network import prepare
from eseg_zoo.model.dense import DenseSegmenter

_COUNTED = b"___torch_mangle_"


def to_torchscript(checkpoint: Checkpoint, folder: Path) -> TorchscriptWeightsDescr:
    """Write the network into `folder`, traced and frozen; return its description."""
    with known_warnings(), torch.no_grad():
        frozen = torch.jit.freeze(_network(checkpoint))
        file = BytesIO()
        torch.jit.save(frozen, file)
    weights = folder / "weights.pt"
    weights.write_bytes(_plain(file.getvalue()))
    return TorchscriptWeightsDescr(
        source=weights,
        sha256=get_sha256(weights),
        parent="pytorch_state_dict",
        pytorch_version=Version(torch.__version__.split("+")[0]),
        comment="Traced and frozen; weight standardisation and the correction folded into the convolutions.",
    )


def _network(checkpoint: Checkpoint) -> torch.jit.ScriptModule:
    """Return the network; it is traced, because a scripted interpolate of torch 2.13 does not load in torch 2.5.

    For planes the loop over tiles around it is scripted, in operations that have not changed since torch 1.13. Volumes
    are computed whole: in tiles so small that they were quicker, most of what is computed would be margin.
    """
    segmenter, image = prepare(folded_segmenter(checkpoint), torch.device("cpu")), example_image(checkpoint)
    if checkpoint.dims == 3:
        return _traced(Part(segmenter, _whole), image)
    reflect, probabilities = Part(segmenter, DenseSegmenter.reflect), Part(segmenter, _probabilities)
    tiles = InTiles(_traced(reflect, image), _traced(probabilities, segmenter.reflect(image)), checkpoint.architecture)
    scripted: torch.jit.ScriptModule = torch.jit.script(tiles.eval())
    return scripted


def _probabilities(segmenter: DenseSegmenter, padded: Tensor) -> Tensor:
    return segmenter.logits(padded).softmax(1)


def _whole(segmenter: DenseSegmenter, image: Tensor) -> Tensor:
    return segmenter.cropped(_probabilities(segmenter, segmenter.reflect(image)), image)


def _traced(module: nn.Module, image: Tensor) -> torch.jit.ScriptModule:
    traced: torch.jit.ScriptModule = torch.jit.trace(  # type: ignore[no-untyped-call]
        module.eval(), image, check_trace=False
    )
    return traced


def _plain(archive: bytes) -> bytes:
    """Return the saved network without what this process has put into it: the same network is the same file.

    Left out are the records that say in which files on this disk its code was, and an identifier of the writing. The
    number that torch gives to the name of a class, which counts all networks traced so far, becomes its own count.
    """
    stripped, numbers = BytesIO(), dict[bytes, bytes]()

    def recount(found: re.Match[bytes]) -> bytes:
        return numbers.setdefault(found[0], b"%s%d" % (_COUNTED, len(numbers)))

    with ZipFile(BytesIO(archive)) as whole, ZipFile(stripped, "w") as rest:  # nothing is compressed, as torch wants it
        for name in whole.namelist():
            if name.endswith(".debug_pkl") or name.endswith("/.data/serialization_id"):
                continue
            content = whole.read(name)
            if name.endswith((".py", "/data.pkl")):  # the names stand on lines of their own, so their length is free
                content = re.sub(_COUNTED + rb"\d+", recount, content)
            renamed = re.sub(_COUNTED + rb"\d+", recount, name.encode()).decode()
            rest.writestr(ZipInfo(renamed), content)
    return stripped.getvalue()
