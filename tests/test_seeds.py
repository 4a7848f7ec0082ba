"""What is random in a test is the same in every run."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch


@pytest.mark.parametrize("turn", ["first", "second"])
def test_every_test_begins_with_the_same_random_numbers(turn: str) -> None:
    expected = torch.Generator().manual_seed(0)
    assert torch.equal(torch.rand(3), torch.rand(3, generator=expected))
    assert np.random.standard_normal() == np.random.RandomState(0).standard_normal()
    assert random.random() == random.Random(0).random()
