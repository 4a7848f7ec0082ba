"""The precision of a prediction."""

from __future__ import annotations

from contextlib import suppress

import pytest
import torch

from eseg_zoo.inference.network import single_precision


@pytest.mark.parametrize("given", [True, False])
def test_a_gpu_computes_in_single_precision_and_the_setting_is_left_as_it_was(
    given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", given)
    with suppress(KeyError), single_precision(torch.device("cuda")):
        assert not torch.backends.cudnn.allow_tf32
        raise KeyError
    assert torch.backends.cudnn.allow_tf32 is given


def test_a_cpu_leaves_the_setting_alone() -> None:
    before = torch.backends.cudnn.allow_tf32
    with single_precision(torch.device("cpu")):
        assert torch.backends.cudnn.allow_tf32 is before
