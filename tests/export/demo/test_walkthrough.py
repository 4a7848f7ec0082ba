"""The demo's inputs: what a person would have on disk, of each kind."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import tifffile
from eseg_export.demo import Kind, walkthrough
from eseg_export.demo.walkthrough import SAMPLES, TRAINING_SLICES, make_inputs
from eseg_export.template import load_template

from eseg_zoo.config import load_run
from eseg_zoo.images.opening import open_image


@pytest.mark.parametrize("kind", Kind)
def test_inputs_are_a_run_with_its_volume_strokes_and_truth(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walkthrough, "SHAPE", (TRAINING_SLICES + 1, 128, 128))
    sample = SAMPLES[kind]
    phantom = make_inputs(tmp_path, sample, seed=0, steps=7)
    run = load_run(tmp_path / "run.yaml")
    assert run.classes == phantom.classes
    assert tuple(run.channels) == sample.channels
    assert (run.training.steps, run.semi_supervised.steps) == (2, 5)
    image = open_image(run.images[0], axes=run.axes)
    assert image.sizes["c"] == max(len(sample.channels), 1)
    np.testing.assert_array_equal(
        image.read().squeeze(), phantom.image.swapaxes(0, 1).squeeze() if sample.channels else phantom.image
    )
    assert image.voxel_size == pytest.approx(dict(zip("zyx", sample.voxel_size, strict=True)))
    strokes = tifffile.imread(run.labels[0][0].file)
    painted = strokes > 0
    np.testing.assert_array_equal(strokes[painted], phantom.truth[painted])
    assert not painted[TRAINING_SLICES:].any()
    assert 0 < painted.mean() < 0.002


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_is_packed_with_a_template_of_planes(kind: Kind) -> None:
    assert load_template(SAMPLES[kind].template).texts.dims == 2


def test_a_command_is_shown_as_it_would_be_typed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda command, check: subprocess.CompletedProcess(command, 0))
    walkthrough.call("eseg", "train", Path("demo[/a]:on:/run.yaml"))
    assert capsys.readouterr().out == "\n$ eseg train 'demo[/a]:on:/run.yaml'\n"
