"""What TorchScript and ONNX share: the network as it is traced, and the warnings that tracing is known to give."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.model.dense import DenseSegmenter, fold_standardisation

# Each of them is about a choice that this package makes on purpose.
_KNOWN = (
    (DeprecationWarning, r"`torch\.jit\.\w+` is deprecated"),  # libtorch 1.13 to 2.7 in the consumers read nothing else
    (DeprecationWarning, r"You are using the legacy TorchScript-based ONNX export"),  # the new one needs opset 18
    (DeprecationWarning, r"The feature will be removed\. Please remove usage of this function"),  # inside that exporter
)


@contextmanager
def known_warnings() -> Iterator[None]:
    """Silence the known warnings of tracing, exporting and loading, and no other."""
    with warnings.catch_warnings():
        for category, message in _KNOWN:
            warnings.filterwarnings("ignore", message=message, category=category)
        yield


def folded_segmenter(checkpoint: Checkpoint) -> DenseSegmenter:
    """Return the inference network with what can be folded into its convolutions folded, for speed.

    That is their standardisation, and the correction: its `logits` are corrected, and `corrected` changes nothing.
    """
    segmenter = checkpoint.segmenter().requires_grad_(False)
    fold_standardisation(segmenter)
    classify = segmenter.classifier.head.classify
    assert isinstance(classify.weight, Tensor)
    assert isinstance(classify.bias, Tensor)
    classify.weight.div_(segmenter.temperature)
    classify.bias.div_(segmenter.temperature).add_(segmenter.log_prior_shift.flatten())
    segmenter.temperature.fill_(1)
    segmenter.log_prior_shift.fill_(0)
    return segmenter


class Part(nn.Module):
    """A function of a segmenter and an image, as a module that can be traced."""

    def __init__(self, segmenter: DenseSegmenter, function: Callable[[DenseSegmenter, Tensor], Tensor]):
        super().__init__()
        self.segmenter, self.function = segmenter, function

    def forward(self, image: Tensor) -> Tensor:
        return self.function(self.segmenter, image)


def example_image(checkpoint: Checkpoint) -> Tensor:
    """Return a small image to trace with; its size stays out of the graph, which `verify` proves."""
    channels = checkpoint.architecture.channels
    return torch.zeros(1, channels, *range(24, 24 + checkpoint.dims))
