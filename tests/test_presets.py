"""Presets: defaults that go together, for planes and for volumes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from test_config import write_run

from eseg_zoo.config import PRESETS, VOLUME_PRESETS, NetworkSettings, Run, TrainingSettings, load_run
from eseg_zoo.example_run import SMALLEST_RUN
from eseg_zoo.model.dense import DenseSegmenter


def test_the_default_preset_is_the_defaults_of_the_fields(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path, preset="default"))
    assert run.network == NetworkSettings()
    assert run.training == TrainingSettings()
    assert run.preset == "default"


def test_the_small_preset_replaces_defaults_and_a_given_value_replaces_the_preset(tmp_path: Path) -> None:
    preset = PRESETS["small"]
    run = load_run(write_run(tmp_path, training={"steps": 7}))
    assert run.network.width == preset["network"]["width"] != NetworkSettings().width
    assert run.training.steps == 7 != preset["training"]["steps"]
    assert run.training.batch_size == preset["training"]["batch_size"] != TrainingSettings().batch_size
    assert run.training.learning_rate == TrainingSettings().learning_rate  # in neither


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_names_known_sections_and_makes_a_network(preset: str) -> None:
    run = Run.model_validate(yaml.safe_load(SMALLEST_RUN) | {"preset": preset})
    for section, values in PRESETS[preset].items():
        assert getattr(run, section).model_fields_set == set(values)
    architecture = run.network.architecture(channels=1, classes=3)
    assert len(architecture.strides) == len(architecture.kernels) == len(architecture.filters) == 3
    DenseSegmenter.of(architecture)


@pytest.mark.parametrize("preset", VOLUME_PRESETS)
def test_volumes_have_presets_of_their_own_for_the_same_keys(preset: str) -> None:
    assert set(VOLUME_PRESETS) == set(PRESETS)
    values = yaml.safe_load(SMALLEST_RUN) | {"preset": preset, "network": {"dims": 3, "latents": 7}}
    run = Run.model_validate(values)
    expected = VOLUME_PRESETS[preset]
    assert run.network == NetworkSettings(dims=3, latents=7, width=expected["network"]["width"])
    for section in ("training", "semi_supervised"):
        for key, value in expected[section].items():
            assert getattr(getattr(run, section), key) == value
