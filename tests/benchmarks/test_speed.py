"""The ways that are timed give the same probabilities, and the figures are those of one call."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from eseg_zoo.checkpoint import Checkpoint
from speed import measure
from ways import PEERS, WAYS, patch_by_patch, plain_convolution, untrained

SPACE = {2: (256, 256), 3: (6, 24, 24)}


@pytest.mark.parametrize("dims", [2, 3])
def test_the_ways_to_run_a_network_give_the_same_probabilities(
    make_checkpoint: Callable[..., Checkpoint], dims: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, found = make_checkpoint(dims), []
    image = torch.rand(1, 1, *SPACE[dims]) * 255
    monkeypatch.setattr("ways._image", lambda *_: image)
    for way in WAYS.values():
        if way is not patch_by_patch:
            call, amount = way(checkpoint, SPACE[dims])
            assert amount == np.prod(SPACE[dims])
            with torch.inference_mode():
                found.append(np.asarray(call()).reshape(3, *SPACE[dims]))
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=2e-5)


def test_the_peers_predict_as_many_pixels() -> None:
    for way in PEERS.values():
        call, amount = way(untrained(5), SPACE[2])
        assert np.asarray(call()).shape[1:] == SPACE[2]
        assert amount == 256 * 256


def test_patches_count_one_pixel_for_each_patch(make_checkpoint: Callable[..., Checkpoint]) -> None:
    call, amount = patch_by_patch(make_checkpoint(3), SPACE[3])
    with torch.inference_mode():
        batches = call()
    assert isinstance(batches, list)
    assert sum(len(batch) for batch in batches) == amount


def test_a_measurement_is_made_in_a_process_of_its_own(make_checkpoint: Callable[..., Checkpoint]) -> None:
    checkpoint = make_checkpoint(2)
    found = measure(plain_convolution, checkpoint, (32, 32), threads=1, repeats=2)
    width = checkpoint.architecture.filters[0]
    assert found.amount == 14 * 14 * 9 * width**2  # of half the side, valid
    assert 0 < found.seconds < 10
    assert found.per_million == pytest.approx(found.seconds / found.amount * 1e6)
