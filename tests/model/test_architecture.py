"""The geometry of a network is known from its shape alone."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from eseg_zoo.model.architecture import Architecture, Geometry

PLANE: dict[str, Any] = {
    "dims": 2,
    "channels": 2,
    "classes": 3,
    "filters": [6, 8, 10],
    "latents": 3,
    "strides": [[2, 2]] * 3,
    "kernels": [[3, 3]] * 3,
}


def test_a_shape_is_known_without_torch() -> None:
    code = "import sys, eseg_zoo.config, eseg_zoo.model.architecture; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_equal_shapes_are_equal_whatever_sequences_they_were_given_in() -> None:
    shape = Architecture(**PLANE)
    assert shape == Architecture(**PLANE | {"filters": (6, 8, 10), "strides": ((2, 2),) * 3})
    assert hash(shape) == hash(Architecture(**PLANE))
    assert shape.arguments() == PLANE  # in lists, as a package has them
    assert shape.geometry == Geometry.of(PLANE["strides"], PLANE["kernels"])


def test_margin_of_three_levels_is_the_sum_worked_by_hand() -> None:
    # Coarsest to finest: latents 2; block of level 3: 2 + 2, pooled 2 * 4 + 1 = 9; level 2: 2 * 11 + 1 = 23;
    # level 1: 2 * 25 + 1 = 51; stem: 51 + 1.
    geometry = Geometry.of([[2, 2]] * 3, [[3, 3]] * 3)
    assert geometry.margin == (52, 52)
    assert geometry.stride == (8, 8)


def test_geometry_of_anisotropic_levels_differs_by_axis() -> None:
    geometry = Geometry.of([[1, 2, 2], [2, 2, 2]], [[1, 3, 3], [3, 3, 3]])
    assert geometry.stride == (2, 4, 4)
    # z: latents 1, block 1 + 2, pooled 2 * 3 + 1; no pooling and no kernel at full depth.
    assert geometry.margin == (7, 24, 24)
