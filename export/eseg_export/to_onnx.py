"""ONNX: what deepImageJ often runs, and every runtime without torch."""

from __future__ import annotations

from pathlib import Path

import torch
from bioimageio.spec.model.v0_5 import OnnxWeightsDescr
from bioimageio.spec.utils import get_sha256

from eseg_export.tracing import example_image, folded_segmenter, known_warnings
from eseg_zoo.checkpoint import Checkpoint

OPSET = 17  # the newest that ONNX Runtime 1.12 in deepImageJ loads; the legacy exporter then writes IR version 8
INPUT, OUTPUT = "input", "output"


def to_onnx(checkpoint: Checkpoint, folder: Path) -> OnnxWeightsDescr:
    """Write the network into `folder` as one file with free batch and space axes; return its description."""
    free = {axis: name for axis, name in enumerate(["batch", "channel", *"zyx"[-checkpoint.dims :]]) if axis != 1}
    weights = folder / "weights.onnx"
    with known_warnings(), torch.no_grad():
        torch.onnx.export(
            folded_segmenter(checkpoint),
            (example_image(checkpoint),),
            str(weights),
            dynamo=False,  # the dynamo exporter writes IR 10 and opset 18 at least
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: free, OUTPUT: free},
        )
    return OnnxWeightsDescr(
        source=weights,
        sha256=get_sha256(weights),
        parent="pytorch_state_dict",
        opset_version=OPSET,
        comment="Weight standardisation folded into the convolutions.",
    )
