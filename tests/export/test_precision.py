"""Rounding on a GPU: emulated bit by bit, counted as the zoo counts, answered by a tolerance that the zoo allows."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bioimageio.core import Tensor as ZooTensor
from bioimageio.core._resource_tests import _get_tolerance, evaluate_mismatched_elements
from bioimageio.spec import ModelDescr, load_description
from bioimageio.spec.model.v0_5 import ReproducibilityTolerance
from eseg_export import sample
from eseg_export.precision import (
    BFLOAT16,
    DEFAULT,
    TF32,
    TOLERANCES,
    Reproducibility,
    RoundedConvolutions,
    Tolerance,
    in_precision,
    per_million,
    reproducibility,
    rounded,
)
from eseg_export.proof import rounding_told
from eseg_export.sample import write_samples
from eseg_export.tracing import folded_segmenter
from torch import nn

from eseg_zoo.checkpoint import Checkpoint

from .conftest import Exported

DIMS = ("batch", "channel", "y", "x")
NUMBERS = np.random.default_rng(0).standard_normal(2000) * 10.0 ** np.arange(-10, 10).repeat(100)
NUMBERS = NUMBERS.astype(np.float32)


@pytest.mark.parametrize("bits", [TF32, BFLOAT16])
def test_rounding_keeps_so_many_bits_behind_the_leading_one(bits: int) -> None:
    fraction, exponent = np.frexp(NUMBERS.astype(np.float64))
    expected = np.ldexp(np.round(fraction * 2.0 ** (bits + 1)) / 2.0 ** (bits + 1), exponent)  # ties to even
    np.testing.assert_array_equal(rounded(torch.from_numpy(NUMBERS), bits).numpy(), expected)


def test_seven_bits_are_torchs_bfloat16() -> None:
    numbers = torch.from_numpy(NUMBERS)
    assert torch.equal(rounded(numbers, BFLOAT16), numbers.bfloat16().float())


@pytest.mark.parametrize("dims", [2, 3])
def test_inputs_and_weights_of_convolutions_are_rounded_and_nothing_else(dims: int) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 2, *[9] * dims, generator=generator)
    weight, bias = torch.randn(3, 2, *[3] * dims, generator=generator), torch.randn(3, generator=generator)
    convolve = {2: F.conv2d, 3: F.conv3d}[dims]
    layer = {2: nn.Conv2d, 3: nn.Conv3d}[dims](2, 3, 3)
    layer.load_state_dict({"weight": weight, "bias": bias})
    expected = convolve(rounded(image, TF32), rounded(weight, TF32), bias)
    with RoundedConvolutions(TF32), torch.inference_mode():
        assert torch.equal(convolve(image, weight, bias), expected)
        assert torch.equal(layer(image), expected)
        assert torch.equal(image * weight.mean(), image * weight.mean())
    assert not torch.equal(convolve(image, weight, bias), expected)


@pytest.mark.parametrize("tolerance", TOLERANCES)
def test_values_are_counted_as_bioimageio_counts_them(tolerance: Tolerance) -> None:
    generator = np.random.default_rng(1)
    expected = generator.random((1, 3, 40, 50), dtype=np.float32)
    found = expected + generator.normal(0, 4e-3, expected.shape).astype(np.float32)
    actual, wanted = (ZooTensor.from_numpy(array, dims=DIMS) for array in (found, expected))
    counted, *_ = evaluate_mismatched_elements(
        actual, wanted, tolerance.relative_tolerance, tolerance.absolute_tolerance, "output"
    )
    assert per_million(found, expected, tolerance) == pytest.approx(counted)


def test_every_tolerance_is_one_that_the_zoo_allows_and_the_first_is_its_default() -> None:
    for tolerance in TOLERANCES:
        ReproducibilityTolerance(**vars(tolerance))
        assert tolerance.absolute_tolerance <= 0.01  # of a probability, whose largest is 1
    default = ReproducibilityTolerance()
    assert (
        Tolerance(default.relative_tolerance, default.absolute_tolerance, default.mismatched_elements_per_million)
        == DEFAULT
    )


class Shifted(nn.Module):
    """A network whose convolution changes so many of a million values by 0.004 in TF32."""

    def __init__(self, shifted: int):
        super().__init__()
        self.shifted = shifted

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        lost = 1 - F.conv2d(torch.full((1, 1, 1, 1), 1 + 2**-12), torch.ones(1, 1, 1, 1)).sum()  # 0 when rounded
        changed = image.clone()
        changed.flatten()[: self.shifted] += 0.004 * (lost == 0)
        return changed


@pytest.mark.parametrize(
    ("shifted", "declared"),
    [(0, TOLERANCES[0]), (50, TOLERANCES[0]), (51, TOLERANCES[2]), (100, TOLERANCES[2]), (90_000, TOLERANCES[2])],
)
def test_the_first_tolerance_that_forgives_with_a_reserve_is_declared(shifted: int, declared: Tolerance) -> None:
    image = np.full((1, 1, 1000, 1000), 0.01, np.float32)
    found = reproducibility(Shifted(shifted), image, image)
    assert found.tf32 == pytest.approx(shifted)
    assert found.declared == declared
    assert found.default_holds == (shifted <= 100)
    assert found.tf32_holds


def test_the_package_declares_a_tolerance_within_which_a_rounding_gpu_passes(
    exported: Exported, checkpoint: Checkpoint
) -> None:
    with zipfile.ZipFile(exported.package.path) as archive:
        model = load_description(archive, perform_io_checks=False)
    assert isinstance(model, ModelDescr)
    image, expected = (np.load(exported.folder / f"test_{which}.npy") for which in ("input", "output"))
    found = in_precision(folded_segmenter(checkpoint), image, TF32)
    actual, wanted = (ZooTensor.from_numpy(array, dims=DIMS) for array in (found, expected))
    for name in ("torchscript", "onnx", "pytorch_state_dict"):
        relative, absolute, allowed = _get_tolerance(model, wf=name, m="output")  # type: ignore[arg-type]
        counted, *_ = evaluate_mismatched_elements(actual, wanted, relative, absolute, "output")
        assert counted <= allowed
    figures = exported.rdf["config"]["eseg"]["reproducibility"]["mismatched_per_million"]
    assert figures["tf32"]["default"] == pytest.approx(per_million(found, expected, DEFAULT), abs=0.1)
    assert figures["tf32"]["default"] > 100, "so the default tolerance would not do"
    readme = (exported.folder / "README.md").read_text(encoding="utf-8")
    assert f"moves {figures['tf32']['default']:,.0f} values per million of the test output beyond" in readme
    assert "does not hold, whichever crop" in readme


def test_the_crop_that_reproduces_best_becomes_the_test(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    seen: list[float] = []

    def by_brightness(network: Any, image: Any, expected: Any) -> Reproducibility:
        seen.append(1000 + float(image.mean()))
        return Reproducibility(seen[-1], 0.0, TOLERANCES[1], 0.0, 0.0)

    monkeypatch.setattr(sample, "reproducibility", by_brightness)
    samples = write_samples(checkpoint, tmp_path)
    assert len(seen) == 10  # the sample, and three crops along each axis
    chosen = np.load(samples.test_input)
    assert 1000 + float(chosen.mean()) == pytest.approx(min(seen))
    assert samples.reproducibility.tf32 == min(seen)
    assert samples.image.shape[2:] == (160, 192), "the sample image stays whole"


def test_a_sample_that_reproduces_stays_the_test(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    monkeypatch.setattr(sample, "reproducibility", lambda *_: Reproducibility(10.0, 0.0, DEFAULT, 10.0, 0.0))
    assert np.load(write_samples(checkpoint, tmp_path).test_input).shape[2:] == (160, 192)


def test_what_holds_is_told_without_a_declaration() -> None:
    told = rounding_told(Reproducibility(12.0, 30.0, DEFAULT, 12.0, 30.0))
    assert "moves 12 values per million of the test output beyond the zoo's default tolerance" in told
    assert "it holds." in told
    assert "declares" not in told
