"""What the levels of a network do along z follows from how coarse z is."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest

from eseg_zoo.config import NetworkSettings
from eseg_zoo.levels import anisotropy, depth, is_coarse, kernels, strides
from eseg_zoo.model.architecture import Geometry

# One voxel size for each regime: isotropic FIB-SEM, twice coarser, ssTEM.
FINE, TWICE, COARSE = 1.0, 2.0, 11.0


def geometry(ratio: float) -> Geometry:
    levels = depth(3, ratio)
    return Geometry.of(strides(3, levels, ratio), kernels(3, levels, ratio))


def test_anisotropy_is_z_over_the_mean_of_y_and_x() -> None:
    assert anisotropy({"z": 0.05, "y": 0.0046, "x": 0.0046}) == pytest.approx(10.87, abs=0.01)
    assert anisotropy({"z": 4.0, "y": 1.0, "x": 4.0}) == pytest.approx(2.0)


@pytest.mark.parametrize("known", [{}, {"z": 5.0}, {"y": 1.0, "x": 1.0}], ids=["nothing", "z", "y and x"])
def test_an_unknown_voxel_size_is_isotropic(known: dict[str, float]) -> None:
    assert anisotropy(known) == 1


@pytest.mark.parametrize(
    ("ratio", "coarse"), [(0.2, False), (1.0, False), (2.8, False), (2.9, True), (5.0, True), (30.0, True)]
)
def test_z_is_coarse_from_the_root_of_8(ratio: float, coarse: bool) -> None:
    assert is_coarse(ratio) is coarse
    assert depth(3, ratio) == (3 if coarse else 2)
    assert depth(2, ratio) == 3


@pytest.mark.parametrize("ratio", [0.3, 1.0, 1.4])
def test_a_fine_z_is_halved_as_y_and_x_are(ratio: float) -> None:
    assert strides(3, 2, ratio) == [[2, 2, 2], [2, 2, 2]]
    assert kernels(3, 2, ratio) == [[3, 3, 3], [3, 3, 3]]


@pytest.mark.parametrize("ratio", [1.5, 2.0, 2.8])
def test_a_z_of_about_twice_is_halved_once_y_and_x_have_become_as_coarse(ratio: float) -> None:
    assert strides(3, 3, ratio) == [[1, 2, 2], [2, 2, 2], [2, 2, 2]]
    assert kernels(3, 3, ratio) == [[3, 3, 3]] * 3


@pytest.mark.parametrize("ratio", [3.0, 5.0, 11.0])
def test_a_coarse_z_is_never_halved_and_mixed_at_the_coarsest_level_only(ratio: float) -> None:
    assert strides(3, 3, ratio) == [[1, 2, 2]] * 3
    assert kernels(3, 3, ratio) == [[1, 3, 3], [1, 3, 3], [3, 3, 3]]
    assert kernels(3, 1, ratio) == [[3, 3, 3]]


def test_planes_have_no_z_whatever_the_voxel_size() -> None:
    assert strides(2, 3, COARSE) == [[2, 2]] * 3
    assert kernels(2, 3, COARSE) == [[3, 3]] * 3


@pytest.mark.parametrize(
    ("ratio", "stride", "margin"),
    [
        # Latents of level 2: 1 // 2 + 1 + ... = 2; its block 2, pooled 2 * 4 + 1 = 9; block 2, 2 * 11 + 1; stem 1.
        (FINE, (4, 4, 4), (24, 24, 24)),
        # Along z latents 1, block 2, pooled 2 * 3 + 1 = 7; block 2 and stem 1 at full depth.
        (TWICE, (2, 4, 4), (10, 24, 24)),
        # Along z nothing but the coarsest block's two convolutions.
        (COARSE, (1, 8, 8), (2, 52, 52)),
    ],
)
def test_stride_and_margin_are_those_worked_by_hand(
    ratio: float, stride: tuple[int, ...], margin: tuple[int, ...]
) -> None:
    assert geometry(ratio).stride == stride
    assert geometry(ratio).margin == margin


@pytest.mark.parametrize("ratio", [FINE, TWICE, 3.0, 5.0, COARSE])
def test_a_patch_of_the_default_levels_is_at_most_twelve_of_2d(ratio: float) -> None:
    found = geometry(ratio)
    voxels = prod(s + 2 * m for s, m in zip(found.stride, found.margin, strict=True))
    assert voxels <= 12 * 112**2


def test_the_stem_narrows_by_the_voxels_that_one_of_the_first_level_covers() -> None:
    def stem(settings: dict[str, Any], z: float) -> int:
        architecture = NetworkSettings(**settings).architecture(
            channels=1, classes=2, voxel_size={"z": z, "y": 1, "x": 1}
        )
        return architecture.stem_filters

    assert stem({"width": 64}, 1) == 16
    assert stem({"dims": 3, "width": 64}, 1) == 8
    assert stem({"dims": 3, "width": 64}, 10) == 16
    assert stem({"dims": 3, "width": 8}, 1) == 4  # never narrower
