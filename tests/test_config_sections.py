"""The network that its section of the settings asks for."""

from __future__ import annotations

from typing import Any

from eseg_zoo.config import NetworkSettings
from eseg_zoo.model.architecture import Architecture


def test_widths_grow_from_level_to_level_and_given_filters_count_instead() -> None:
    def filters(**settings: Any) -> list[int]:
        return list(NetworkSettings(**settings).architecture(channels=1, classes=2).filters)

    assert filters(width=20) == [20, 30, 40]
    assert filters(width=20, dims=3) == [20, 30]
    assert filters(width=20, dims=3, filters=[4, 5, 6, 7]) == [4, 5, 6, 7]


def test_the_levels_along_z_follow_the_voxel_size() -> None:
    network = NetworkSettings(dims=3, width=8)
    serial_sections = {"z": 0.05, "y": 0.0046, "x": 0.0046}
    found = network.architecture(channels=1, classes=2, voxel_size=serial_sections)
    assert found.filters == (8, 12, 16)
    assert found.strides == ((1, 2, 2),) * 3
    assert found.kernels == ((1, 3, 3), (1, 3, 3), (3, 3, 3))


def test_the_architecture_follows_the_network_settings() -> None:
    network = NetworkSettings(dims=3, filters=[4, 6], latents=5)
    assert network.architecture(channels=2, classes=7) == Architecture(
        dims=3, channels=2, classes=7, filters=[4, 6], latents=5, strides=[[2, 2, 2]] * 2, kernels=[[3, 3, 3]] * 2
    )
