"""Cards and templates: what a person may write, and how a mistake is answered."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from eseg_export.card import Card, card_of
from eseg_export.names import channel_names
from eseg_export.package import export
from eseg_export.proof import validation_table
from eseg_export.rdf import origin
from eseg_export.template import load_template
from eseg_export.tiling import TilingAxis
from eseg_export.words import describing_words, tell

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.colours import class_colours
from eseg_zoo.errors import ConfigError
from eseg_zoo.model.architecture import AxisGeometry

from .conftest import MakeCheckpoint


def written(folder: Path, text: str) -> Card:
    path = folder / "card.yaml"
    path.write_text(text, encoding="utf-8")
    return card_of(path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("licence: MIT", r"card\.yaml: licence is not a setting; did you mean license\?"),
        ("license: CC-BY-4", r"card\.yaml: license: 'CC-BY-4' is not an SPDX identifier; did you mean CC-BY-4\.0\?"),
        ("name: ε-Seg model", r"card\.yaml: name: 'ε-Seg model' is not a name of a model; it must have 5 to 64"),
        ("authors: [{name: Ada, orcid: 0000-0001-2345-6780}]", r"card\.yaml: authors\.0\.orcid"),
        ("cite: [{text: a paper}]", r"card\.yaml: cite\.0: .*doi.*url"),
        ("version: first", r"card\.yaml: version: .*'first'"),
        ("- a list", r"card\.yaml must hold keys such as id, name, description, authors"),
        ("name: [", r"card\.yaml is not a readable YAML file"),
    ],
)
def test_a_mistake_in_a_card_names_file_key_and_remedy(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        written(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_a_missing_card_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml does not exist"):
        card_of(tmp_path / "nowhere.yaml")


def test_no_card_is_the_empty_card() -> None:
    assert card_of(None) == Card()


def test_license_is_written_as_spdx_writes_it(tmp_path: Path) -> None:
    assert written(tmp_path, "license: mit").license == "MIT"


TEMPLATES = {"em2d": 2, "em3d": 3, "fluorescence2d": 2, "fluorescence3d": 3}


@pytest.mark.parametrize(("name", "dims"), TEMPLATES.items())
def test_built_in_templates_fill_from_any_checkpoint_of_their_kind(
    name: str, dims: int, make_checkpoint: MakeCheckpoint
) -> None:
    story = tell(make_checkpoint(dims), Card(), load_template(name))
    assert "$" not in story.texts.model_dump_json()
    assert story.texts.cite[0].doi == "10.48550/arXiv.2510.18637"


def test_there_is_no_template_beside_the_tested_ones() -> None:
    folder = load_template("em2d").path.parent
    assert {path.stem for path in folder.glob("*.yaml")} == set(TEMPLATES)


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_are_short_and_commented(name: str) -> None:
    lines = load_template(name).path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 45
    assert sum("#" in line for line in lines) >= 6
    assert max(map(len, lines)) <= 120


def test_a_template_of_another_kind_of_model_is_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(ConfigError, match=r"em3d\.yaml: dims is 3; the model is 2D"):
        tell(checkpoint, Card(), load_template("em3d"))


def test_an_unknown_template_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"em2 is not a template; did you mean em2d\?"):
        load_template("em2")


def edited(folder: Path, old: str, new: str, name: str = "em2d") -> Path:
    """A template of one's own beside the built-in README, with one change in either of them."""
    template = load_template(name).path
    for source, copy in ((template, folder / "mine.yaml"), (template.parent / "README.md", folder / "README.md")):
        copy.write_text(source.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    return folder / "mine.yaml"


def test_a_template_of_ones_own_is_given_by_its_path(tmp_path: Path, checkpoint: Checkpoint) -> None:
    path = edited(tmp_path, "modality: electron microscopy", "modality: light microscopy with $channels channel")
    assert load_template(str(path)).fill(describing_words(checkpoint)).modality == "light microscopy with 1 channel"


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("$class_names", "$klasses", r"mine\.yaml: \$klasses is not a word of a template; they are dims, "),
        ("$class_names", "5 $", r"mine\.yaml: .*write \$\$ for a dollar sign"),
        ("modality:", "modalty:", r"mine\.yaml: .*modalty is not a setting; did you mean modality\?"),
        ("limits:", "extra: 1\nlimits:", r"mine\.yaml: .*extra is not a setting"),
        ("doi: ", "dio: ", r"mine\.yaml: .*cite\.0"),
        ("dims:", "dims: 4 #", r"mine\.yaml: .*dims is 4"),
        ("$citations", "$quotes", r"README\.md: \$quotes is not a word of a template; they are .*citations"),
        ("readme: README.md", "readme: no.md", r"mine\.yaml: readme is no\.md, which cannot be read"),
    ],
)
def test_a_mistake_in_a_template_is_named_before_anything_is_exported(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, name: str, old: str, new: str, complaint: str
) -> None:
    model, steps = tmp_path / "model.pt", list[str]()
    make_checkpoint(TEMPLATES[name]).save(model)
    with pytest.raises(ConfigError, match=complaint):
        export(model, template=str(edited(tmp_path, old, new, name)), progress=steps.append)
    assert steps == [f"reading {model}"]


def test_channel_names_are_identifiers_unlike_each_other() -> None:
    names = ["cell wall", "cell-wall", "3rd", "class", "膜", "?"]
    assert channel_names(names) == ["cell_wall", "cell_wall_", "class_3rd", "class_class", "膜", "unnamed"]


def test_channels_named_by_wavelengths_are_identifiers_too() -> None:
    assert channel_names(["405", "488 nm", "DAPI"], kind="channel") == ["channel_405", "channel_488_nm", "DAPI"]


@pytest.mark.parametrize(
    ("names", "phrase"),
    [
        (("intensity",), "1 channel of raw intensities"),
        (("nuclei",), "1 channel of raw intensities (nuclei)"),
        (("channel 1", "channel 2"), "2 channels of raw intensities"),
        (("nuclei", "cytoplasm"), "2 channels of raw intensities (nuclei, cytoplasm, in this order)"),
    ],
)
def test_the_readme_names_the_channels_that_somebody_named(
    make_checkpoint: MakeCheckpoint, names: tuple[str, ...], phrase: str
) -> None:
    checkpoint = replace(make_checkpoint(channels=len(names)), channel_names=names)
    readme = tell(checkpoint, Card(), load_template("fluorescence2d")).readme(checkpoint)
    assert f" {phrase} " in readme.replace("\n", " ")


@pytest.mark.parametrize("classes", [2, 8, 9, 20])
def test_every_class_has_a_colour_of_its_own(classes: int) -> None:
    assert len(set(class_colours(classes))) == classes


@pytest.mark.parametrize(("strides", "kernels"), [((2, 2, 2), (3, 3, 3)), ((1, 1), (1, 3)), ((1, 2), (3, 5))])
def test_halo_covers_a_cell_cut_by_a_tile_and_stays_on_the_grid(
    strides: tuple[int, ...], kernels: tuple[int, ...]
) -> None:
    axis = AxisGeometry(strides=strides, kernels=kernels)
    tile = TilingAxis.of(axis)
    assert axis.margin + axis.stride - 1 <= tile.halo < axis.margin + 2 * axis.stride
    assert tile.halo % tile.stride == tile.min % tile.stride == 0
    assert tile.min > 2 * tile.halo


def test_a_class_without_a_score_is_left_out_of_the_yaml_and_named_in_the_readme(checkpoint: Checkpoint) -> None:
    unscored = checkpoint.training.validation | {"dice/membrane": math.nan}
    record = replace(checkpoint, training=replace(checkpoint.training, validation=unscored))
    assert set(origin(record, [])["validation"]) == {"mean_dice", "loss", "dice/cytoplasm", "dice/mito|chondrion"}
    assert "| membrane | not measured | 40 |" in validation_table(record)


def test_a_model_without_validation_says_so(checkpoint: Checkpoint) -> None:
    record = replace(checkpoint, training=replace(checkpoint.training, validation={}))
    assert "its quality was not measured" in validation_table(record)


def test_tiles_of_thick_sections_are_told_axis_by_axis(make_checkpoint: MakeCheckpoint) -> None:
    planes, volumes = describing_words(make_checkpoint(2)), describing_words(make_checkpoint(3))
    assert (planes["stride"], planes["margin"], planes["halo"]) == ("8", "52", "64")
    assert volumes["stride"] == "1 (z), 4 (y) and 4 (x)"
    assert volumes["margin"] == "2 (z), 24 (y) and 24 (x)"
