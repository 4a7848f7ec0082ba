"""Labels in an OME-Zarr whose metadata are damaged or made up: their anchors, or one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from labels.test_ome_zarr import NAMED, write_labels, write_levels

from eseg_zoo.images.opening import open_image
from eseg_zoo.label_files import LabelFile
from eseg_zoo.labels.opening import LabelReading, classes_in, given_labels, open_labels
from fuzz.outcomes import CASES, altered, damaged, outcome

SHAPE = (3, 20, 30)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_damaged_metadata_of_labels_are_read_or_are_one_line(tmp_path: Path, version: str) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[0, 3, 4:9], labels[1, 7, 7], labels[2, 9, 3:6] = 1, 2, 3
    write_levels(tmp_path / "seed.ome.zarr", [np.zeros(SHAPE, np.uint8)], version)
    write_labels(tmp_path / "seed.ome.zarr", version, strokes=([labels, labels[:, ::2, ::2]], NAMED))
    seed, path = tmp_path / "seed.ome.zarr", tmp_path / "case.ome.zarr"
    files = [file for file in sorted(seed.rglob("*")) if file.name in (".zattrs", ".zgroup", ".zarray", "zarr.json")]
    image = open_image(np.zeros(SHAPE, np.uint8), axes="zyx", name="raw")

    def use() -> None:
        for found in open_labels([image], given_labels(path, 1), LabelReading({}, 0, 2)):
            found.anchors()
        classes_in([LabelFile(file=path)])

    said = []
    for case in range(max(CASES, 100)):
        rng = np.random.default_rng(case)
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(seed, path)
        file = files[case % len(files)]
        content = file.read_bytes()
        changed = altered(json.loads(content), rng)[0] if case % 4 else None
        new = damaged(content, rng) if changed is None else json.dumps(changed).encode("utf-8", "surrogatepass")
        path.joinpath(file.relative_to(seed)).write_bytes(new)
        said.append(outcome(use))
    assert 0 < sum(map(bool, said)) < len(said)
