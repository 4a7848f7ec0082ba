"""The ways to run a network, and what people use instead: each as a call that can be timed, and the pixels it makes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from math import prod
from pathlib import Path

import numpy as np
import torch
from eseg_export.demo.em import em_phantom
from eseg_export.demo.strokes import sparse_strokes

import unet
from eseg_zoo.allocator import keep_freed_memory
from eseg_zoo.api import Model
from eseg_zoo.checkpoint import Checkpoint, Class, TrainingRecord
from eseg_zoo.config import PRESETS, VOLUME_PRESETS, NetworkSettings
from eseg_zoo.images.opening import open_image
from eseg_zoo.inference.network import Predictor, prepare
from eseg_zoo.inference.tiles import predict_section
from eseg_zoo.model.dense import DenseSegmenter, convolution
from eseg_zoo.patches.sections import sections_of
from forest import PixelForest
from multiply_adds import multiply_adds, prediction_cost

PATCHES = {2: (256, 64), 3: (16, 8)}  # all, and in a batch
SECTIONS = {2: 8, 3: 1}  # of a stack


def untrained(classes: int, *, dims: int = 2, z: float = 1.0) -> Checkpoint:
    """Return a checkpoint of the small preset with random weights; z is the size of a voxel along it, of y and x 1."""
    settings = NetworkSettings(dims=dims, **(PRESETS if dims == 2 else VOLUME_PRESETS)["small"]["network"])
    voxel_size = {"z": z, "y": 1.0, "x": 1.0}
    architecture = settings.architecture(channels=1, classes=classes, voxel_size=voxel_size)
    return Checkpoint(
        architecture=architecture,
        segmenter_state=DenseSegmenter.of(architecture).state_dict(),
        generative_state={},
        classes=tuple(Class(f"class {i}", i + 1, 1 / classes, "#000000") for i in range(classes)),
        frequency_source="balanced",
        channel_names=("intensity",),
        axes="zyx"[-dims:],
        voxel_size={},
        image_dtype="uint8",
        sample=torch.randint(0, 255, (1, *(128,) * dims), dtype=torch.uint8),
        settings={},
        training=TrainingRecord(0, 0, {}, 0, {}, {}, {}),
    )


Call = Callable[[], object]


def patch_by_patch(checkpoint: Checkpoint, space: tuple[int, ...]) -> tuple[Call, int]:
    """Return a call that predicts the centres of some patches, and how many."""
    segmenter = prepare(checkpoint.segmenter(), torch.device("cpu"))
    size = [s + 2 * m for s, m in zip(segmenter.geometry.stride, segmenter.geometry.margin, strict=True)]
    count, batch = PATCHES[checkpoint.dims]
    patches = torch.rand(batch, checkpoint.architecture.channels, *size) * 255
    return lambda: [segmenter.probabilities(patches) for _ in range(count // batch)], count


def eager(checkpoint: Checkpoint, space: tuple[int, ...]) -> tuple[Call, int]:
    """Return a call of the checkpoint's network as it is on a whole image."""
    segmenter, image = checkpoint.segmenter().eval(), _image(checkpoint, space)
    return lambda: segmenter(image), prod(space)


def eseg_predict(checkpoint: Checkpoint, space: tuple[int, ...]) -> tuple[Call, int]:
    """Return a call of what `eseg predict` does with one section, tile by tile, in memory that is kept as it does."""
    keep_freed_memory()
    axes = "c" + "zyx"[-checkpoint.dims :]
    image = open_image(_image(checkpoint, space)[0].numpy(), axes=axes)
    predictor, section = Predictor(checkpoint, device="cpu"), sections_of(image, checkpoint.dims)[0]
    return lambda: predict_section(predictor, section), prod(space)


def predict_stack(checkpoint: Checkpoint, space: tuple[int, ...]) -> tuple[Call, int]:
    """Return a call of `Model.predict`, the whole of the command in memory, for some sections of this size.

    It has as many cores as torch has threads, where the system can tell them to a process.
    """
    keep_freed_memory()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: torch.get_num_threads()])
    count = SECTIONS[checkpoint.dims]
    stack = np.concatenate([_image(checkpoint, space).numpy() for _ in range(count)])
    model, axes = Model(checkpoint), ("z" if checkpoint.dims == 2 else "t") + "c" + "zyx"[-checkpoint.dims :]
    return lambda: model.predict(stack, axes=axes, device="cpu", probabilities=False), count * prod(space)


def torchscript(checkpoint: Checkpoint, space: tuple[int, ...]) -> tuple[Call, int]:
    """Return a call of the exported TorchScript weights."""
    from eseg_export.package import write_weights
    from eseg_export.tracing import known_warnings

    image = _image(checkpoint, space)
    with tempfile.TemporaryDirectory() as folder, known_warnings():
        write_weights(checkpoint, Path(folder))
        script = torch.jit.load(Path(folder) / "weights.pt")
    return lambda: script(image), prod(space)


def onnx_runtime(checkpoint: Checkpoint, space: tuple[int, ...]) -> tuple[Call, int]:
    """Return a call of the exported ONNX weights."""
    import onnxruntime
    from eseg_export.package import write_weights

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        write_weights(checkpoint, Path(folder))
        session = onnxruntime.InferenceSession(
            Path(folder) / "weights.onnx", options, providers=["CPUExecutionProvider"]
        )
    feed = {session.get_inputs()[0].name: _image(checkpoint, space).numpy()}
    return lambda: session.run(None, feed), prod(space)


def plain_unet(checkpoint: Checkpoint, space: tuple[int, ...]) -> tuple[Call, int]:
    """Return a call of a plain U-Net of equal multiply-adds on a whole image."""
    classes = checkpoint.architecture.classes
    network = unet.UNet(unet.width_for(prediction_cost(checkpoint.architecture), classes), classes)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    trained, image = unet.TrainedUNet(network, 128, 50), _image(checkpoint, space)[0, 0].numpy()
    return lambda: trained.logits(image), prod(space)


def random_forest(checkpoint: Checkpoint, space: tuple[int, ...]) -> tuple[Call, int]:
    """Return a call of the random forest, trained on 300 or so labels of an EM phantom, on an image of that kind."""
    generator = np.random.default_rng(0)
    phantom = em_phantom((4, 256, 256), rng=generator)
    labels = sparse_strokes(phantom.truth, fraction=0.001, rng=generator)
    forest = PixelForest().fit(phantom.image, labels, len(np.unique(phantom.truth)))
    image = np.tile(phantom.image[0], [n // 256 for n in space])
    return lambda: forest.predict_probabilities(image), prod(space)


def plain_convolution(checkpoint: Checkpoint, space: tuple[int, ...]) -> tuple[Call, int]:
    """Return a call of one convolution of the first level's width on as many pixels, and its multiply-adds."""
    width, step = checkpoint.architecture.filters[0], checkpoint.architecture.strides[0]
    layer = convolution(checkpoint.dims, width, width, checkpoint.architecture.kernels[0])
    layout = torch.channels_last if checkpoint.dims == 2 else torch.channels_last_3d
    features = torch.rand(1, width, *(n // s for n, s in zip(space, step, strict=True))).to(memory_format=layout)
    layer.to(memory_format=layout)  # type: ignore[call-overload]
    return lambda: layer(features), multiply_adds(layer, features)


def _image(checkpoint: Checkpoint, space: tuple[int, ...]) -> torch.Tensor:
    return torch.rand(1, checkpoint.architecture.channels, *space) * 255


Way = Callable[[Checkpoint, tuple[int, ...]], tuple[Call, int]]
WAYS: dict[str, Way] = {
    "the same network, patch by patch": patch_by_patch,
    "eager": eager,
    "`eseg predict`": eseg_predict,
    "TorchScript": torchscript,
    "ONNX Runtime": onnx_runtime,
}
PEERS: dict[str, Way] = {"plain U-Net": plain_unet, "random forest": random_forest}
