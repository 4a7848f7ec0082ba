from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eseg_zoo.config import PRESETS, NetworkSettings
from eseg_zoo.model.architecture import Architecture
from eseg_zoo.model.dense import BlurPool
from multiply_adds import SIDE, bytes_written, multiply_adds, prediction_cost, training_cost


@pytest.fixture
def small() -> Architecture:
    return NetworkSettings(**PRESETS["small"]["network"]).architecture(channels=1, classes=5)


@pytest.mark.parametrize(
    ("module", "shape", "expected"),
    [
        (nn.Conv2d(3, 8, 3), (2, 3, 10, 12), 2 * 8 * 10 * 3 * 9 * 8),
        (nn.Conv2d(4, 8, 3, padding=1, groups=2), (1, 4, 6, 6), 6 * 6 * 8 * 2 * 9),
        (nn.Conv2d(2, 2, 2, stride=2), (1, 2, 8, 8), 4 * 4 * 2 * 2 * 4),
        (nn.ConvTranspose2d(8, 4, 2, 2), (1, 8, 5, 5), 5 * 5 * 8 * 4 * 4),
        (nn.Linear(7, 5), (3, 7), 3 * 7 * 5),
        (nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.ReLU()), (1, 1, 4, 4), 4 * 4 * 2),
    ],
)
def test_the_count_is_that_worked_by_hand(module: nn.Module, shape: tuple[int, ...], expected: int) -> None:
    assert multiply_adds(module.eval(), torch.zeros(shape)) == expected


def test_convolutions_without_a_layer_of_their_own_are_counted() -> None:
    assert multiply_adds(BlurPool(2, 6, [2, 2]), torch.zeros(1, 6, 10, 10)) == 4 * 4 * 6 * 16


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda x: x + 1, 4 * 6 * 10),
        (lambda x: x.clone().relu_(), 2 * 4 * 6 * 10),
        (lambda x: x[1:].T.reshape(10, 5), 0),
        (lambda x: x.double().softmax(1), 2 * 8 * 6 * 10),
        (lambda x: x.max(1), 6 * (4 + 8)),
    ],
    ids=["new", "in place", "views", "types", "two results"],
)
def test_the_bytes_are_those_worked_by_hand(call: Callable[[Tensor], Any], expected: int) -> None:
    assert bytes_written(call, torch.zeros(6, 10)) == expected


def test_counting_needs_no_computing() -> None:
    convolution = nn.Conv2d(64, 64, 3, padding=1, device="meta")
    assert multiply_adds(convolution, torch.empty(1, 64, 4096, 4096, device="meta")) == 4096**2 * 64 * 64 * 9


def test_a_whole_slice_costs_far_less_a_pixel_than_a_patch(small: Architecture) -> None:
    assert 0 < prediction_cost(small) < training_cost(small) / 100
    assert training_cost(small) < prediction_cost(small) * SIDE**2


def test_counting_leaves_the_random_state_alone(small: Architecture) -> None:
    before = torch.get_rng_state()
    training_cost(small)
    prediction_cost(small)
    assert torch.equal(before, torch.get_rng_state())
