"""What TorchScript and ONNX share: the network as it is traced, and the warnings that tracing is known to give."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.model.dense import DenseSegmenter, fold_standardisation

_CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}

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
    """Return the inference network with its standardisation folded and its weights channels-last, both for speed."""
    segmenter = checkpoint.segmenter().requires_grad_(False)
    fold_standardisation(segmenter)
    segmenter.to(memory_format=_CHANNELS_LAST[checkpoint.dims])  # type: ignore[call-overload]
    return segmenter


def example_image(checkpoint: Checkpoint) -> Tensor:
    """Return a small image to trace with; its size stays out of the graph, which `verify` proves."""
    channels = checkpoint.architecture.channels
    return torch.zeros(1, channels, *range(24, 24 + checkpoint.dims))
