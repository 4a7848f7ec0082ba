"""One YAML becomes one checked tree; every mistake is one line that says what, its value and the limit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from eseg_zoo.config import (
    PaperSettings,
    Run,
    load_run,
)
from eseg_zoo.errors import ConfigError
from eseg_zoo.example_run import SMALLEST_RUN
from eseg_zoo.settings import Settings


@pytest.fixture
def mistakes(tmp_path: Path) -> Any:
    """A function of changes to the smallest run that returns the lines of the error."""

    def find(**changes: Any) -> list[str]:
        path = tmp_path / "run.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(SMALLEST_RUN) | changes))
        with pytest.raises(ConfigError) as caught:
            load_run(path)
        lines = str(caught.value).splitlines()
        assert all(line.startswith(f"{path}: ") for line in lines)
        return [line.removeprefix(f"{path}: ") for line in lines]

    return find


def write_run(folder: Path, **changes: Any) -> Path:
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(SMALLEST_RUN) | changes))
    return path


def test_the_smallest_run_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(SMALLEST_RUN)
    run = load_run(path)
    assert run.axes == "zyx"
    assert run.classes == {1: "membrane", 2: "cytoplasm", 3: "mitochondrion"}
    assert run.images == [tmp_path / "raw.tif"]


def test_the_keys_of_the_smallest_run_are_all_needed_but_the_preset_and_what_files_say(tmp_path: Path) -> None:
    path, values = tmp_path / "run.yaml", yaml.safe_load(SMALLEST_RUN)
    for key in values.keys() - {"preset", "axes", "classes"}:
        path.write_text(yaml.safe_dump({k: v for k, v in values.items() if k != key}))
        with pytest.raises(ConfigError) as caught:
            load_run(path)
        assert str(caught.value) == f"{path}: {key} is missing"


def test_axes_may_be_left_out_and_their_case_does_not_matter(tmp_path: Path) -> None:
    values = yaml.safe_load(SMALLEST_RUN)
    assert Run.model_validate(values | {"axes": "ZcYX"}).axes == "zcyx"
    del values["axes"]
    volumes = {"network": {"dims": 3}, "channels": ["a", "b"]}  # the files will say whether they fit
    for changes in ({}, volumes):
        path = tmp_path / "run.yaml"
        path.write_text(yaml.safe_dump(values | changes))
        assert load_run(path).axes is None


def test_changes_replace_what_the_file_says_section_by_section(tmp_path: Path) -> None:
    path = write_run(tmp_path, training={"steps": 7, "batch_size": 3}, loss={"beta": 0.5})
    changes = {"training": {"steps": 9}, "classes": {4: "a", 5: "b"}, "seed": 8, "network": {"latents": 5}}
    run = load_run(path, changes)
    assert (run.training.steps, run.training.batch_size, run.loss.beta) == (9, 3, 0.5)
    assert run.classes == {4: "a", 5: "b"}
    assert (run.seed, run.network.latents) == (8, 5)
    assert load_run(path).training.steps == 7


def test_changes_are_checked_as_the_file_is(tmp_path: Path) -> None:
    path = write_run(tmp_path)
    with pytest.raises(ConfigError, match=r"run\.yaml: training\.stepps is not a setting; did you mean steps\?"):
        load_run(path, {"training": {"stepps": 9}})
    with pytest.raises(ConfigError, match=r"run\.yaml: training\.workers is -1; .*greater than or equal to 0"):
        load_run(path, {"training": {"workers": -1}})


def test_a_path_in_the_changes_is_taken_from_where_it_starts(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path), {"out": tmp_path / "elsewhere"})
    assert run.out == tmp_path / "elsewhere"
    assert run.images == [tmp_path / "raw.tif"]


def test_relative_paths_start_from_the_folder_of_the_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    write_run(folder, images=["a.tif", "/data/b.tif"], labels=["../a.tif", "l.tif"], out="runs/first")
    run = load_run(Path("project/run.yaml"))
    assert run.images == [Path("project/a.tif"), Path("/data/b.tif")]
    files = [[one.file for one in files] for files in run.labels]
    assert files == [[Path("project/../a.tif")], [Path("project/l.tif")]]
    assert run.out == Path("project/runs/first")


@pytest.mark.parametrize(
    ("images", "given", "files"),
    [
        ("a.tif", "l.tif", [["l.tif"]]),
        ("a.tif", ["l.tif", "m.ilp"], [["l.tif", "m.ilp"]]),
        ("a.tif", [["l.tif", "m.ilp"]], [["l.tif", "m.ilp"]]),
        (["a.tif", "b.tif"], ["l.tif", "m.ilp"], [["l.tif"], ["m.ilp"]]),
        (["a.tif", "b.tif"], ["l.tif", ["m.ilp", "n.csv"]], [["l.tif"], ["m.ilp", "n.csv"]]),
        (["a.tif", "b.tif"], "p.ilp", [["p.ilp"]]),
        ("a.tif", {"file": "l.tif", "class": "membrane", "offset": {"z": 3}, "width": 2, "unit": "pixel"}, [["l.tif"]]),
    ],
    ids=str,
)
def test_each_image_has_label_files(tmp_path: Path, images: Any, given: Any, files: list[list[str]]) -> None:
    run = load_run(write_run(tmp_path, images=images, labels=given))
    assert [[one.file for one in entry] for entry in run.labels] == [[tmp_path / name for name in e] for e in files]
    again = Run.model_validate(run.model_dump(mode="json"))
    assert again == run
    assert again.with_preset("default").labels == run.labels


def test_a_label_file_of_which_nothing_is_said_is_a_path_as_in_older_runs() -> None:
    values = yaml.safe_load(SMALLEST_RUN) | {"images": ["a.tif", "b.tif", "c.tif"]}
    said = {"file": "n.csv", "class": "membrane", "offset": {"z": 0}}
    run = Run.model_validate(values | {"labels": ["l.tif", {"file": "m.tif"}, [said, "o.tif"]]})
    assert run.model_dump(mode="json")["labels"] == ["l.tif", "m.tif", [said, "o.tif"]]


def test_classes_may_be_left_to_the_label_files(tmp_path: Path) -> None:
    values = yaml.safe_load(SMALLEST_RUN)
    del values["classes"]
    run = Run.model_validate(values | {"frequencies": {"a": 1, "b": 2}, "colours": {"a": "#00ff00"}})
    assert run.classes == {}
    assert run.with_classes({4: "a", 2: "b"}).classes == {4: "a", 2: "b"}
    with pytest.raises(ConfigError, match="the label files: frequencies must name each class once: a, c"):
        run.with_classes({4: "a", 2: "c"})
    with pytest.raises(ConfigError, match=r"classes is \{4: 'a'\}; a model tells at least 2 classes apart"):
        run.with_classes({4: "a"})


@pytest.mark.parametrize(
    ("labels", "line"),
    [
        ({"fil": "l.tif"}, "labels.0.0.fil is not a setting; did you mean file?"),
        ({"file": "l.tif", "classs": "a"}, "labels.0.0.classs is not a setting; did you mean class?"),
        (
            {"file": "l.tif", "offset": {"z": -1}},
            "labels.0.0.offset.z is -1; input should be greater than or equal to 0",
        ),
        ({"file": "l.tif", "unit": "mm"}, "labels.0.0.unit is 'mm'; input should be 'pixel' or 'micrometer'"),
        ({"file": "l.tif", "width": 0}, "labels.0.0.width is 0; input should be greater than 0"),
    ],
    ids=["file", "class", "offset", "unit", "width"],
)
def test_a_mistake_in_a_label_file_is_named_with_its_place(mistakes: Any, labels: Any, line: str) -> None:
    assert line in mistakes(labels=labels)


def test_a_colour_that_is_none_is_refused(mistakes: Any) -> None:
    assert mistakes(colours={"membrane": "red"}) == [
        "colours.membrane is 'red'; it must be red, green and blue in hexadecimal, such as '#e69f00'"
    ]


@pytest.mark.parametrize(("dims", "cells", "region"), [(2, None, (64, 32)), (2, 3, (24, 12)), (3, None, (8, 32, 16))])
def test_the_unlabelled_region_is_of_whole_cells(dims: int, cells: int | None, region: tuple[int, ...]) -> None:
    changes = {"network": {"dims": dims}, "semi_supervised": {"cells": cells}}
    run = Run.model_validate(yaml.safe_load(SMALLEST_RUN) | changes)
    assert run.unlabelled_region((2, 8, 4)[-dims:]) == region


@pytest.mark.parametrize(
    ("preset", "dims", "share"), [("small", 2, 1), ("default", 2, 1), ("paper", 2, 0), ("small", 3, 0)]
)
def test_cutmix_is_for_what_it_was_measured_on(preset: str, dims: int, share: float) -> None:
    settings = yaml.safe_load(SMALLEST_RUN) | {"preset": preset, "network": {"dims": dims}}
    assert Run.model_validate(settings).augmentation.cutmix == share
    assert Run.model_validate(settings | {"augmentation": {"noise": 0.1}}).augmentation.cutmix == share
    assert Run.model_validate(settings | {"augmentation": {"cutmix": 0.5}}).augmentation.cutmix == 0.5


def test_settings_are_frozen(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path))
    with pytest.raises(ValidationError, match="frozen"):
        run.loss.beta = 2  # type: ignore[misc]


# ------------------------------------------------------------------------------------------------------ mistakes


def test_a_mistyped_key_names_the_nearest(mistakes: Any) -> None:
    assert mistakes(imags="x.tif") == ["imags is not a setting; did you mean images?"]


def test_a_mistyped_nested_key_names_the_nearest(mistakes: Any) -> None:
    assert mistakes(network={"fliters": [8]}) == ["network.fliters is not a setting; did you mean filters?"]
    assert mistakes(training={"lerning_rate": 1}) == [
        "training.lerning_rate is not a setting; did you mean learning_rate?"
    ]


def test_a_key_that_moved_names_its_new_place(mistakes: Any) -> None:
    line = "training.symmetries is not a setting any more: it is augmentation.symmetries now"
    assert mistakes(training={"symmetries": False}) == [line]


@pytest.mark.parametrize(
    ("section", "key", "says"),
    [
        ("training", "ema", "bought nothing"),
        ("training", "optimiser", "Adamax with preset: paper"),
        ("training", "schedule", "plateau decay with preset: paper"),
        ("training", "plateau_patience", "paper.plateau_patience"),
        ("network", "learn_prior", "always learnt"),
        ("semi_supervised", "labeller", "class means with preset: paper"),
        ("semi_supervised", "confidence", "paper.confidence"),
        ("semi_supervised", "radius", "paper.radius now"),
        ("semi_supervised", "radius_patience", "paper.radius_patience"),
    ],
)
def test_a_key_that_is_gone_says_in_one_line_why_or_where_it_is(
    mistakes: Any, section: str, key: str, says: str
) -> None:
    (line,) = mistakes(**{section: {key: 1}})
    assert line.startswith(f"{section}.{key} is not a setting any more: ")
    assert says in line


def test_a_section_that_is_gone_says_why(mistakes: Any) -> None:
    (line,) = mistakes(pretraining={"steps": 3})
    assert line == "pretraining is not a setting any more: learning without labels first made models worse"


def test_the_paper_has_settings_of_its_own(mistakes: Any, tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path, preset="paper", paper={"radius": 3}))
    assert run.paper == PaperSettings(radius=3)
    assert load_run(write_run(tmp_path, preset="paper")).paper == PaperSettings()
    assert load_run(write_run(tmp_path)).paper is None
    assert mistakes(paper={}) == ["paper is for preset: paper, but preset is small"]
    assert mistakes(preset="paper", semi_supervised={"teacher": 0.5}) == [
        "semi_supervised.teacher is for other presets than paper, which has no averaged network"
    ]
    assert mistakes(preset="paper", paper={"raduis": 3}) == ["paper.raduis is not a setting; did you mean radius?"]


def test_a_key_like_no_other_lists_the_keys(mistakes: Any) -> None:
    assert mistakes(loss={"qqq": 1}) == ["loss.qqq is not a setting; the keys here are alpha, beta, gamma, delta"]


def test_every_mistake_has_its_line(mistakes: Any) -> None:
    assert len(mistakes(imags="x", loss={"beta": -1, "gama": 2})) == 3


@pytest.mark.parametrize(
    ("section", "key", "value", "says"),
    [
        ("loss", "beta", -1, "greater than or equal to 0"),
        ("loss", "beta", float("nan"), "finite number"),
        ("training", "learning_rate", float("inf"), "finite number"),
        ("training", "learning_rate", 0, "greater than 0"),
        ("training", "validation_fraction", 1, "less than 1"),
        ("training", "steps", 1.5, "valid integer"),
        ("semi_supervised", "teacher", 1.0, "less than 1"),
        ("augmentation", "zoom", 0.3, "less than or equal to 0.25"),
        ("augmentation", "contrast", 1, "less than 1"),
        ("augmentation", "elastic", 11, "less than or equal to 10"),
        ("augmentation", "noise", -0.1, "greater than or equal to 0"),
        ("mask", "probability", 1.5, "less than or equal to 1"),
        ("network", "dims", 4, "2 or 3"),
        ("network", "filters", [], "at least 1 item"),
        ("slices", "training", "3", "the first and the last slice, counted from 0, such as 0-11"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_limit(
    mistakes: Any, section: str, key: str, value: object, says: str
) -> None:
    (line,) = mistakes(**{section: {key: value}})
    assert line.startswith(f"{section}.{key} is {value!r}; ")
    assert says in line


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"mask": {"size": 4}}, "mask: size is 4; it must be odd, so that the anchor is its centre"),
        ({"classes": {1: "a", 2: "a"}}, "classes has one name twice: a, a"),
        ({"classes": {0: "a", 1: "b"}}, "classes names the value 0, which means 'not labelled'"),
        ({"unlabelled": 2}, "classes names the value 2, which means 'not labelled'"),
        ({"axes": "zzyx"}, "axes is 'zzyx'; it must have y and x, may have t, c and z, and each letter once"),
        ({"axes": "zy"}, "axes is 'zy'; it must have y and x, may have t, c and z, and each letter once"),
        ({"axes": "ZZYX"}, "axes is 'zzyx'; it must have y and x, may have t, c and z, and each letter once"),
        ({"axes": "wyx"}, "axes is 'wyx'; it must have y and x, may have t, c and z, and each letter once"),
        ({"axes": "tyx", "network": {"dims": 3}}, "axes is 'tyx', which has no z; network.dims of 3 needs volumes"),
        ({"axes": "cyx", "channels": ["a", "b", "a"]}, "channels has one name twice: a, b, a"),
        (
            {"channels": ["nuclei", "cytoplasm"]},
            "channels names 2 (nuclei, cytoplasm), but axes is 'zyx'; with several channels it must have c",
        ),
        (
            {"images": ["a.tif", "b.tif", "c.tif"], "labels": ["d.tif", "e.tif"]},
            "there are 3 images but 2 entries in labels; give one for each image, which is a list where an image has "
            "several label files",
        ),
        (
            {"colours": {"nucleus": "#ff0000"}},
            "colours names nucleus, which is no class; they are membrane, cytoplasm, mitochondrion",
        ),
        ({"network": {"latents": 1}}, "3 classes need network.latents of at least 2"),
        (
            {"frequencies": {"membrane": 1.0}},
            "frequencies must name each class once: membrane, cytoplasm, mitochondrion",
        ),
        (
            {"frequencies": "rare"},
            "frequencies is 'rare'; it must be estimate, balanced, or a number for each class",
        ),
        (
            {"frequencies": {"membrane": 1, "cytoplasm": 0, "mitochondrion": 2}},
            "frequencies: cytoplasm is 0; it must be a number above 0",
        ),
        (
            {"frequencies": {"membrane": 1, "cytoplasm": "many", "mitochondrion": 2}},
            "frequencies: cytoplasm is 'many'; it must be a number above 0",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_settings_that_contradict_each_other_are_one_line(mistakes: Any, changes: dict[str, Any], line: str) -> None:
    assert mistakes(**changes) == [line]


@pytest.mark.parametrize(
    ("given", "names"), [("nuclei", ["nuclei"]), ([405, 488], ["405", "488"]), (["a", "b"], ["a", "b"])]
)
def test_channels_are_named_by_words_or_by_wavelengths(tmp_path: Path, given: object, names: list[str]) -> None:
    assert load_run(write_run(tmp_path, axes="zcyx", channels=given)).channels == names


def test_an_empty_channel_name_is_refused(mistakes: Any) -> None:
    (line,) = mistakes(axes="cyx", channels=["nuclei", ""])
    assert line.startswith("channels.1 is ''; ")


def test_fewer_than_two_classes_are_refused(mistakes: Any) -> None:
    (line,) = mistakes(classes={1: "all"})
    assert line.startswith("classes is {1: 'all'}; ")
    assert "at least 2" in line


def test_class_values_that_no_class_map_can_hold_are_refused(mistakes: Any) -> None:
    (line,) = mistakes(classes={1: "a", 65_536: "b"})
    assert "is 65536; " in line
    assert "less than or equal to 65535" in line


def test_zero_may_be_a_class_when_another_value_means_not_labelled(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path, classes={0: "a", 1: "b"}, unlabelled=255))
    assert run.classes == {0: "a", 1: "b"}


@pytest.mark.parametrize(
    ("given", "form"),
    [
        (["a", "b"], "{1: a, 2: b}"),
        ("a, b", "{1: a, 2: b}"),
        ([{1: "a"}, {2: "b"}], "{1: a, 2: b}"),
        ({"a": 4, "b": 7}, "{4: a, 7: b}"),
        ([], "{1: background, 2: nucleus}"),
    ],
    ids=repr,
)
def test_classes_without_values_are_shown_the_right_form(mistakes: Any, given: object, form: str) -> None:
    assert mistakes(classes=given) == [
        f"classes is {given!r}; it must have the label value of each class, as in {form}"
    ]


def test_settings_can_be_shown_without_any_path(tmp_path: Path) -> None:
    class Further(Settings):
        start: Path | None
        steps: int

    class Later(Run):
        further: Further
        masks: list[Path]
        models: dict[str, Path | int]

    further = {"further": {"start": "home/a", "steps": 3}, "masks": ["home/b"], "models": {"c": "home/d"}}
    path = write_run(tmp_path, voxel_size={"z": 0.05}, channels=["red"], **further)
    written = Later.checked(yaml.safe_load(path.read_text(encoding="utf-8")), path).model_dump(
        mode="json", exclude_none=True
    )
    shown = Later.without_paths(written | {"of_another_version": "home/f"})
    paths = {"images", "labels", "out", "masks", "models"}
    without = {key: value for key, value in written.items() if key not in paths}
    assert shown == without | {"further": {"steps": 3}}
    assert (shown["voxel_size"], shown["channels"]) == ({"z": 0.05}, ["red"])


# -------------------------------------------------------------------------------------- every field is used and told


def all_fields(model: type[BaseModel] = Run, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the key and the documentation of each field, nested ones too."""
    for name, field in model.model_fields.items():
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            yield prefix + name, field.description or nested.__doc__ or ""
            yield from all_fields(nested, f"{prefix}{name}.")
        else:
            yield prefix + name, field.description or ""


def test_every_setting_is_documented_in_a_sentence() -> None:
    for key, text in all_fields():
        assert len(text.split()) >= 2, key
        assert text.endswith("."), key
