"""ONNX: what deepImageJ often runs, and every runtime without torch."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from bioimageio.spec.model.v0_5 import OnnxWeightsDescr
from bioimageio.spec.utils import get_sha256
from torch import Tensor

from eseg_export.merged_crops import merge_crops
from eseg_export.tracing import Part, example_image, folded_segmenter, known_warnings
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.model.dense import DenseSegmenter

OPSET = 17  # the newest that ONNX Runtime 1.12 in deepImageJ loads; the legacy exporter then writes IR version 8
INPUT, OUTPUT = "input", "output"


def to_onnx(checkpoint: Checkpoint, folder: Path) -> OnnxWeightsDescr:
    """Write the network into `folder` as one file with free batch and space axes; return its description."""
    free = {axis: name for axis, name in enumerate(["batch", "channel", *"zyx"[-checkpoint.dims :]]) if axis != 1}
    weights = folder / "weights.onnx"
    with known_warnings(), torch.no_grad():
        torch.onnx.export(
            Part(folded_segmenter(checkpoint), _probabilities),
            (example_image(checkpoint),),
            str(weights),
            dynamo=False,  # the dynamo exporter writes IR 10 and opset 18 at least
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: free, OUTPUT: free},
        )
    model = onnx.load(weights)
    merge_crops(model.graph)
    onnx.save(model, weights)
    return OnnxWeightsDescr(
        source=weights,
        sha256=get_sha256(weights),
        parent="pytorch_state_dict",
        opset_version=OPSET,
        comment="Weight standardisation and the correction folded into the convolutions.",
    )


def _probabilities(segmenter: DenseSegmenter, image: Tensor) -> Tensor:
    """Return the probabilities of a folded network in the operations that ONNX Runtime is quick at.

    Along any axis but the last its softmax goes location by location, which took a fifth of the time in planes and
    more than a third in volumes; each of these steps goes over a whole tensor, and all take a tenth of that together.
    """
    logits = segmenter.classifier.bordered(segmenter.normalise(segmenter.reflect(image)))
    for axis, border in enumerate(segmenter.classifier.head.border, start=2):
        logits = logits.narrow(axis, border, image.shape[axis])
    powers = (logits - logits.amax(1, keepdim=True)).exp()
    return powers / powers.sum(1, keepdim=True)
