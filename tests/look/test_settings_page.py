"""Every setting is told, out of the settings themselves."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from eseg_zoo.cli import app
from eseg_zoo.config import Run
from eseg_zoo.errors import ConfigError
from eseg_zoo.look.settings_page import Setting, as_page, chosen, sections
from eseg_zoo.settings import section_of


def one(key: str) -> Setting:
    (section,) = chosen(key)
    (setting,) = section.settings
    return setting


def test_every_key_has_its_default_its_type_and_its_meaning() -> None:
    found = {setting.key: setting for section in sections() for setting in section.settings}
    for name, field in Run.model_fields.items():
        section = section_of(field.annotation)
        keys = [f"{name}.{inner.alias or key}" for key, inner in section.model_fields.items()] if section else [name]
        assert set(keys) <= set(found), name
    assert all(setting.kind and setting.meaning for setting in found.values())
    assert found["out"].default == ""


@pytest.mark.parametrize(
    ("key", "kind", "default", "presets"),
    [
        ("training.steps", "integer from 0", "20000", {"small": "1000, in 3D 500"}),
        ("training.batch_size", "integer from 1", "128, in 3D 32", {"small": "32, in 3D 16"}),
        ("training.learning_rate", "number above 0", "0.002", {"paper": "3.0e-05"}),
        ("training.precision", "32-true or bf16-mixed or 16-mixed", "32-true", {}),
        ("training.validation_fraction", "number from 0 below 1", "0.1", {}),
        ("network.dims", "2 or 3", "2", {}),
        ("mask.sides", "list of integers from 1", "[3, 5, 9, 15]", {}),
        ("paper.confidence", "2 numbers from 0 to 1", "[0.5, 0.99]", {}),
        ("voxel_size", "mapping of z, y, x to numbers above 0", "{}", {}),
        ("frequencies", "estimate or balanced or mapping to numbers above 0", "estimate", {}),
    ],
)
def test_a_setting_is_told_in_words(key: str, kind: str, default: str, presets: dict[str, str]) -> None:
    found = one(key)
    assert (found.kind, found.default, dict(found.presets)) == (kind, default, presets)


def test_a_section_is_chosen_whole() -> None:
    (section,) = chosen("loss")
    assert [setting.key for setting in section.settings] == [
        f"loss.{name}" for name in ("alpha", "beta", "gamma", "delta")
    ]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("trainig.step", "did you mean training.steps?"),
        ("loss.gama", "did you mean loss.gamma?"),
        ("steps", "did you mean training.steps or semi_supervised.steps?"),
        ("qqq", "eseg settings lists all"),
        ("pretraining", "pretraining is not a setting any more: learning without labels first"),
    ],
)
def test_a_mistyped_key_names_the_nearest(key: str, said: str) -> None:
    with pytest.raises(ConfigError, match="is not a setting") as caught:
        chosen(key)
    assert said in str(caught.value)


def test_the_command_prints_key_type_defaults_and_meaning() -> None:
    done = CliRunner().invoke(app, ["settings", "training.patience"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "training.patience  integer from 1; default 50; small 20" in done.stdout
    assert "Validations without a gain of 0.001 in soft Dice before a stage stops." in done.stdout


def test_a_row_of_the_page_has_as_many_cells_as_its_head() -> None:
    lines = [line for line in as_page().splitlines() if line.startswith("|")]
    assert len(lines) > len(Run.model_fields)
    assert {line.replace("\\|", "").count("|") for line in lines} == {7}
