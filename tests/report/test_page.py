"""The page of a report: all that is known of a training, in one file that loads nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from html_page import Page

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.errors import OutputError
from eseg_zoo.images.opening import open_image
from eseg_zoo.labels.opening import LabelReading, given_labels, open_labels
from eseg_zoo.report.gather import Trained, Truth, gather
from eseg_zoo.report.page import Extra, page_of, write_page
from eseg_zoo.report.pictures import picture_of
from eseg_zoo.report.scenes import Pair

MakeCheckpoint = Callable[..., Checkpoint]
CONFUSION = [[30, 10, 0], [5, 35, 0], [0, 4, 36]]
BINS = [[0, 0, 0.0]] * 10 + [[60, 45, 42.0], [0, 0, 0.0], [60, 54, 51.0], [0, 0, 0.0], [0, 0, 0.0]]


def recorded(checkpoint: Checkpoint, **changes: Any) -> Checkpoint:
    """The checkpoint with what a training of today remembers."""
    names = checkpoint.class_names
    known: dict[str, Any] = {
        "strokes": {name: 12 + number for number, name in enumerate(names)},
        "slices": {name: 3 + number for number, name in enumerate(names)},
        "validation_strokes": dict.fromkeys(names, 4),
        "confusion": CONFUSION,
        "reliability": {"with": BINS, "without": BINS},
        "expected_dice": {name: [0.41, 0.52, 0.33] for name in names},
        "machine": "Linux x86_64, CPU with 4 threads",
        "command": "eseg train run.yaml",
    }
    return replace(checkpoint, training=replace(checkpoint.training, **known | changes))


def trained(checkpoint: Checkpoint, **changes: Any) -> Trained:
    given: dict[str, Any] = {"model": Path("runs/first/model.pt"), "planned": 3000, "is_finished": True}
    return Trained(checkpoint, **given | changes)


def page(checkpoint: Checkpoint, **changes: Any) -> Page:
    return Page(page_of(gather(trained(checkpoint, **changes))))


def pair_of(checkpoint: Checkpoint) -> Pair:
    """Three slices of noise with a stroke of each class in the second."""
    channels = len(checkpoint.channel_names)
    pixels = np.random.default_rng(0).integers(0, 255, (3, channels, 40, 48)).astype(np.uint8)
    labels = np.zeros((3, 40, 48), np.uint8)
    for number, one in enumerate(checkpoint.classes):
        labels[1, 5 + 8 * number, 4:12] = one.value
    image = open_image(pixels, axes="zcyx", name="image")
    classes = {one.value: one.name for one in checkpoint.classes}
    values = open_image(labels, axes="zyx", name="labels")
    return image, open_labels([image], given_labels(values, 1), LabelReading(classes, 0, checkpoint.dims))[0]


def named(checkpoint: Checkpoint, *names: str) -> Checkpoint:
    """The checkpoint with classes of other names."""
    old = dict(zip(checkpoint.class_names, names, strict=True))
    record = checkpoint.training
    validation = {
        f"dice/{old[key[5:]]}" if key.startswith("dice/") else key: value for key, value in record.validation.items()
    }
    fields = "labelled_pixels", "validation_pixels", "strokes", "slices", "validation_strokes", "expected_dice"
    counts: dict[str, Any] = {
        field: {old[key]: value for key, value in getattr(record, field).items()} for field in fields
    }
    return replace(
        checkpoint,
        classes=tuple(replace(one, name=old[one.name]) for one in checkpoint.classes),
        training=replace(record, validation=validation, **counts),
    )


def test_the_page_loads_nothing_and_every_picture_is_in_it(checkpoint: Checkpoint) -> None:
    known = recorded(checkpoint)
    found = page(known, pairs=[pair_of(known)])
    assert found.references
    assert all(reference.startswith("data:image/") for reference in found.references)
    assert not {"script", "link", "iframe", "object"} & set(found.tags)
    assert found.tags.count("img") == len(found.alts)
    assert all(found.alts)


def test_every_link_leads_to_a_section_of_the_page(checkpoint: Checkpoint) -> None:
    known = recorded(checkpoint)
    text = page_of(gather(trained(known, pairs=[pair_of(known)])))
    anchors = {part.partition('"')[0] for part in text.split('href="#')[1:]}
    assert {"given", "found", "places", "good", "frequencies", "next"} <= anchors
    assert anchors <= Page(text).ids


def test_classes_are_shown_with_their_labels_and_colours(checkpoint: Checkpoint) -> None:
    known = recorded(checkpoint)
    text = page_of(gather(trained(known)))
    assert ["cytoplasm", "2", "13", "200", "4", "4", "40"] in Page(text).tables[0]
    for one in known.classes:
        assert f"background:{one.colour}" in text


def test_the_figures_are_those_of_the_record(checkpoint: Checkpoint) -> None:
    found = page(recorded(checkpoint))
    assert found.rows("membrane")[1] == ["membrane", "40", "4", "0.700"]
    assert found.rows("cytoplasm")[1] == ["cytoplasm", "40", "4", "0.720"]
    assert ["mean", "120", "12", "0.810"] in found.rows("mean")
    assert ["cytoplasm", "5 12 %", "35 88 %", "0 0 %"] in found.rows("cytoplasm")
    # By hand: (|45 - 42| + |54 - 51|) / 120.
    assert "0.050" in found.text
    assert "120 pixels in 12 strokes" in found.text


def test_the_correction_is_told_for_each_class(checkpoint: Checkpoint) -> None:
    classes = tuple(replace(one, frequency=f) for one, f in zip(checkpoint.classes, (0.6, 1 / 3, 0.4 / 6), strict=True))
    known = recorded(replace(checkpoint, classes=classes))
    shift = known.segmenter_state["log_prior_shift"].flatten().numpy()  # linear from -0.7 to 0.9
    table = next(table for table in page(known).tables if "strength" in table[0])
    found = {row[0]: row[1:] for row in table[1:]}
    strength, odds = f"{shift[0] / np.log(1.8):.2f}", f"{np.exp(-0.7):.2f}"
    assert found["membrane"] == ["60.0 %", strength, odds, "0.41", "0.52", "0.33"]
    assert found["cytoplasm"][1] == "–"  # an equal share needs no correction
    assert found["mito|chondrion"][1] == f"{shift[2] / np.log(0.2):.2f}"
    assert "The temperature is 1.70" in page(known).text


def test_names_of_classes_are_shown_as_they_are_in_any_script(checkpoint: Checkpoint) -> None:
    names = ("<b>&amp;</b> \" onload='x'", "膜と細胞質", "غشاء {{ 7 * 7 }}")
    known = named(recorded(checkpoint), *names)
    found = page(known, pairs=[pair_of(known)])
    assert "b" not in found.tags
    for name in names:
        assert len(found.rows(name)) >= 4


def test_settings_that_differ_from_the_preset_come_first(checkpoint: Checkpoint) -> None:
    settings = checkpoint.settings | {"seed": 41, "augmentation": checkpoint.settings["augmentation"] | {"blur": 0.5}}
    rows = page(replace(recorded(checkpoint), settings=settings)).tables[-1][1:]
    differing = [row[0] for row in rows if row[2]]
    assert {"seed", "augmentation.blur"} <= set(differing)
    assert [row[0] for row in rows][: len(differing)] == differing
    assert ["augmentation.blur", "0.5", "0.0"] in rows
    assert ["loss.beta", "0.01", ""] in rows


def test_settings_of_another_version_are_shown_all_the_same(checkpoint: Checkpoint) -> None:
    settings = {"images": ["a.tif"], "gone": {"since": [1, None, True]}, "network": {"dims": 2}}
    rows = page(replace(checkpoint, settings=settings)).tables[-1]
    assert ["gone.since", "[1, null, true]", ""] in rows


def test_what_comes_next_is_a_command_to_type(checkpoint: Checkpoint) -> None:
    known = recorded(checkpoint)
    finished, interrupted = page(known).text, page(known, is_finished=False).text
    assert "eseg predict runs/first/model.pt IMAGE --out maps" in finished
    assert "eseg export --ckpt runs/first/model.pt" in finished
    assert "--resume" not in finished
    assert "eseg train run.yaml --resume" in interrupted
    assert "Linux x86_64, CPU with 4 threads" in finished
    assert "eseg train RUN.yaml --resume" in page(recorded(checkpoint, command=""), is_finished=False).text


def test_a_model_without_held_out_labels_has_no_figures(checkpoint: Checkpoint) -> None:
    none = dict.fromkeys(checkpoint.class_names, 0)
    known = recorded(
        checkpoint, validation={}, validation_pixels=none, validation_strokes=none, confusion=[], reliability={}
    )
    found = page(known, pairs=[pair_of(known)])
    assert found.rows("mean") == []
    assert "No label was held out" in found.text


def test_a_class_without_held_out_labels_is_named(checkpoint: Checkpoint) -> None:
    validation = {key: value for key, value in checkpoint.training.validation.items() if key != "dice/cytoplasm"}
    known = recorded(checkpoint, validation=validation)
    assert "Nothing is held out of cytoplasm." in page(known).text
    assert page(known).rows("cytoplasm")[1][-1] == "–"


def test_a_model_of_an_earlier_version_says_what_it_did_not_keep(checkpoint: Checkpoint) -> None:
    found = page(checkpoint, lacking="raw.tif does not exist")
    assert ["membrane", "1", "–", "100", "–", "–", "40"] in found.tables[0]
    assert "did not keep the confusion matrix" in found.text
    assert "There are no pictures: raw.tif does not exist" in found.text
    assert found.references == []


def test_a_constant_image_is_shown_and_has_no_place_to_label(checkpoint: Checkpoint) -> None:
    _, labels = pair_of(checkpoint)
    flat = open_image(np.full((3, 1, 40, 48), 9, np.uint8), axes="zcyx", name="flat")
    found = page(checkpoint, pairs=[(flat, labels)])
    assert "found" in found.ids
    assert "places" not in found.ids


def test_places_to_label_are_told_with_the_command_that_gives_more(checkpoint: Checkpoint, tmp_path: Path) -> None:
    known = recorded(checkpoint)
    report = gather(trained(known, pairs=[pair_of(known)]))
    found = Page(page_of(report))
    assert report.suggestions
    for number, one in enumerate(report.suggestions, start=1):
        place = one.place
        told = f"{number}. image, slice {place.z}, y {place.y}, x {place.x}: looks like {place.looks_like}"
        assert told in found.text
    command = "eseg suggest runs/first/model.pt IMAGE --out next.csv --rois next.zip --pictures next"
    assert command in found.text
    (tmp_path / "a raw.tif").touch()
    named = replace(known, settings=known.settings | {"images": [str(tmp_path / "a raw.tif")]})
    assert f"model.pt '{tmp_path / 'a raw.tif'}' --out" in page(named, pairs=[pair_of(known)]).text


def test_channels_are_named_with_their_colours(make_checkpoint: MakeCheckpoint) -> None:
    known = replace(make_checkpoint(channels=2), channel_names=("nuclei", "cytoplasm"))
    text = page_of(gather(trained(known, pairs=[pair_of(known)])))
    assert '<span class="swatch" style="background:#FF00FF"></span><bdi>nuclei</bdi>' in text


def test_pixels_that_cannot_be_read_leave_a_page_without_pictures(checkpoint: Checkpoint) -> None:
    _, labels = pair_of(checkpoint)
    bad = open_image(np.full((3, 1, 40, 48), np.nan, np.float32), axes="zcyx", name="bad")
    found = page(recorded(checkpoint), pairs=[(bad, labels)])
    assert "There are no pictures: bad has NaN" in found.text
    assert "found" not in found.ids
    assert ["mean", "120", "12", "0.810"] in found.rows("mean")


def test_a_truth_stands_beside_the_maps_with_its_own_figures(checkpoint: Checkpoint) -> None:
    known = recorded(checkpoint)
    image, labels = pair_of(known)
    names = known.class_names
    figures = {
        "mean_dice": 0.654, "dice": dict.fromkeys(names, 0.65), "pixels": dict.fromkeys(names, 640),
        "confusion": CONFUSION, "calibration_error": 0.031, "calibration_error_without_temperature": 0.047,
        "uncertainty_auroc": 0.876, "reliability": [{"confidence": 0.9, "accuracy": 0.8, "pixels": 1920}],
    }  # fmt: skip
    text = page_of(gather(trained(known, pairs=[(image, labels)], truth=Truth([labels], 2, figures))))
    found = Page(text)
    assert text.count("<figcaption>truth</figcaption>") == 2
    assert ["mean", "1,920", "0.654"] in found.rows("mean")
    assert all(figure in found.text for figure in ("0.031", "0.047", "0.876"))


def test_sections_of_others_stand_in_the_page(checkpoint: Checkpoint) -> None:
    picture = picture_of(np.full((8, 8, 3), 0.5), "a grey square", "grey")
    report = gather(trained(checkpoint))
    found = Page(page_of(report, title="A <demo>", extras=[Extra("Mine & yours", "It is <so>.", [picture] * 2, 2)]))
    assert "A <demo>" in found.text
    assert "Mine & yours" in found.text
    assert "It is <so>." in found.text
    assert found.alts == ["a grey square"] * 2


def test_a_page_is_written_whole_or_not_at_all(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report, path = gather(trained(checkpoint)), tmp_path / "report.html"
    write_page(report, path, force=False)
    first = path.read_text(encoding="utf-8")
    Page(first)
    with pytest.raises(OutputError, match="--force"):
        write_page(report, path, force=False)

    def full(self: Path, text: str, **given: Any) -> int:
        with self.open("w") as file:
            file.write(text[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError, match="No space left"):
        write_page(report, path, force=True)
    assert path.read_text(encoding="utf-8") == first
    assert list(tmp_path.iterdir()) == [path]


def test_more_classes_than_the_palette_has_keep_a_colour_each(make_checkpoint: MakeCheckpoint) -> None:
    known = make_checkpoint(classes=14)
    text = page_of(gather(trained(known)))
    colours = {one.colour for one in known.classes}
    assert len(colours) == 14
    assert all(f'class="swatch" style="background:{colour}"' in text for colour in colours)
