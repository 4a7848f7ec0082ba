"""The comparison of 2D and 3D: what its rows train, and that every voxel is judged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from eseg_export.demo.em import CLASSES, em_phantom

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.config import PRESETS, VOLUME_PRESETS
from volumes_3d import ROWS, judge, settings


def test_the_rows_are_the_small_presets_of_planes_and_of_both_kinds_of_volumes(tmp_path: Path) -> None:
    runs = [settings(row, tmp_path, steps=300, seed=1) for row in ROWS]
    assert [run.network.width for run in runs] == [
        PRESETS["small"]["network"]["width"],
        *[VOLUME_PRESETS["small"]["network"]["width"]] * 2,
    ]
    sizes = [{str(axis): size for axis, size in run.voxel_size.items()} for run in runs]
    shapes = [
        run.network.architecture(channels=1, classes=4, voxel_size=size) for run, size in zip(runs, sizes, strict=True)
    ]
    assert [shape.strides for shape in shapes] == [((2, 2),) * 3, ((1, 2, 2),) * 3, ((2, 2, 2),) * 2]
    assert [(run.training.steps, run.semi_supervised.steps) for run in runs] == [(300, 300), (100, 100), (100, 100)]
    assert len({run.out for run in runs}) == 3


@pytest.mark.parametrize("dims", [2, 3])
def test_every_voxel_is_judged_against_its_class(make_checkpoint: Callable[..., Checkpoint], dims: int) -> None:
    checkpoint = make_checkpoint(dims, classes=len(CLASSES))
    test = em_phantom((3, 64, 64), rng=np.random.default_rng(0))
    image = torch.from_numpy(test.image.astype(np.float32))
    with torch.inference_mode():  # slices are a batch of the 2D network, and one volume of the 3D one
        found = checkpoint.segmenter()(image[:, None] if dims == 2 else image[None, None]).argmax(1).numpy()
    truth = test.truth.reshape(found.shape)
    confusion = judge(checkpoint, test)
    assert confusion.pixels.sum() == test.truth.size
    right = np.array([((truth == value) & (found == value - 1)).sum() for value in CLASSES])
    np.testing.assert_allclose(np.diag(confusion.counts), right, atol=3)  # ties to rounding
