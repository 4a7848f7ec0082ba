"""Figures of the pages that follow from the code are those of the code."""

from __future__ import annotations

import pytest
from eseg_export.tiling import tiling

from docs.pages import ROOT
from eseg_zoo.config import NetworkSettings


@pytest.mark.parametrize(
    ("voxel_size", "sides"),
    [({}, "136 x 136"), ({"z": 0.05, "y": 0.05, "x": 0.05}, "104 x 104 x 104"),
     ({"z": 0.05, "y": 0.005, "x": 0.005}, "8 x 288 x 288")],
)  # fmt: skip
def test_the_least_size_of_images_is_that_of_packages(voxel_size: dict[str, float], sides: str) -> None:
    network = NetworkSettings(dims=3 if voxel_size else 2)
    axes = tiling(network.architecture(channels=1, classes=3, voxel_size=voxel_size).geometry)
    assert " x ".join(str(axis.min) for axis in axes) == sides
    assert sides in (ROOT / "docs" / "guides" / "consumers.md").read_text(encoding="utf-8")
