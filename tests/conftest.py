"""A tiny checkpoint with nothing trivial in it, shared by all tests."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from scipy import ndimage
from torch import nn

from eseg_zoo.checkpoint import Checkpoint, Class, TrainingRecord
from eseg_zoo.colours import class_colours
from eseg_zoo.config import Run
from eseg_zoo.images.channels import default_names
from eseg_zoo.model.architecture import Architecture
from eseg_zoo.model.dense import DenseSegmenter, StandardisedConvolution

# Facts, not speed or luck: a busy machine must not fail a test, nor examples that no other run had.
settings.register_profile("same every time", deadline=None, derandomize=True)
settings.load_profile("same every time")

ARCHITECTURES: dict[int, dict[str, Any]] = {
    2: {
        "dims": 2,
        "channels": 1,
        "classes": 3,
        "filters": [8, 12, 16],
        "latents": 4,
        "strides": [[2, 2]] * 3,
        "kernels": [[3, 3]] * 3,
    },
    3: {
        "dims": 3,
        "channels": 1,
        "classes": 3,
        "filters": [4, 6],
        "latents": 2,
        "strides": [[1, 2, 2], [1, 2, 2]],
        "kernels": [[1, 3, 3], [3, 3, 3]],
    },
}
SAMPLE_SIZES = {2: (160, 192), 3: (12, 80, 72)}
VOXEL_SIZE = {"z": 0.04, "y": 0.008, "x": 0.008}


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    """Every test begins with the same state of the generators that all share, such as that of a new layer's weights."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def same_log() -> Iterator[None]:
    """Every test leaves the log of the package as it was: a command lets it show what the user should know."""
    logger = logging.getLogger("eseg_zoo")
    level, handlers = logger.level, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers


def texture(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Blobs of several pixels with noise on them, uint8."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    smooth = ndimage.gaussian_filter(noise, (0, *[4] * (len(shape) - 1)))
    image = 127 + 50 * smooth / smooth.std() + 15 * noise
    return torch.from_numpy(image.clip(0, 255).astype(np.uint8))


def random_checkpoint(dims: int = 2, *, channels: int = 1, classes: int = 3, seed: int = 0) -> Checkpoint:
    """A checkpoint with random weights, normalisation and class-frequency correction."""
    torch.manual_seed(seed)
    architecture = Architecture(**ARCHITECTURES[dims] | {"channels": channels, "classes": classes})
    segmenter = DenseSegmenter.of(architecture)
    for module in segmenter.modules():
        if isinstance(module, StandardisedConvolution):
            nn.init.uniform_(module.gain, 0.7, 2)
            nn.init.normal_(module.bias, 0, 0.3)
    with torch.no_grad():  # so that probabilities go from 0 to 1, as after training
        segmenter.classifier.head.classify.weight.mul_(30)  # type: ignore[operator]
    segmenter.temperature.fill_(1.7)
    segmenter.mean.fill_(127.3)
    segmenter.std.fill_(41.7)
    segmenter.log_prior_shift.copy_(torch.linspace(-0.7, 0.9, classes).view(1, -1, *[1] * dims))
    names = tuple(["membrane", "cytoplasm", "mito|chondrion", *(f"class {i}" for i in range(3, classes))][:classes])
    run = Run.model_validate(
        {
            "images": ["/home/jane/raw.tif", "/home/jane/more.tif"],
            "labels": ["/home/jane/strokes.tif", "/home/jane/more_strokes.tif"],
            "axes": "zcyx",
            "channels": list(default_names(channels)),
            "voxel_size": VOXEL_SIZE,
            "classes": dict(enumerate(names, start=1)),
            "out": "/home/jane/runs",
            "network": {"dims": dims, "filters": list(architecture.filters)},
            "seed": seed,
        }
    )
    return Checkpoint(
        architecture=architecture,
        segmenter_state=segmenter.state_dict(),
        generative_state={},
        classes=tuple(
            Class(name, value, 1 / classes, colour)
            for (value, name), colour in zip(enumerate(names, start=1), class_colours(classes), strict=True)
        ),
        frequency_source="estimated",
        channel_names=default_names(channels),
        axes="zyx",
        voxel_size=VOXEL_SIZE,
        image_dtype="uint8",
        sample=texture((channels, *SAMPLE_SIZES[dims]), seed),
        settings=run.model_dump(mode="json"),
        training=TrainingRecord(
            seconds=754.0,
            steps=1500,
            labelled_pixels={name: 100 * (i + 1) for i, name in enumerate(names)},
            labelled_fraction=0.00042,
            validation_pixels=dict.fromkeys(names, 40),
            validation={
                "mean_dice": 0.81,
                "loss": 0.5,
                **{f"dice/{name}": 0.7 + i / 50 for i, name in enumerate(names)},
            },
            versions={"torch": str(torch.__version__), "eseg_zoo": "0.1.0"},
        ),
    )


@pytest.fixture(scope="session")
def make_checkpoint() -> Callable[..., Checkpoint]:
    """`random_checkpoint`, for tests that want another one than `checkpoint`."""
    return random_checkpoint


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    return random_checkpoint(2)
