"""Names that cannot stand in a package are refused with the rule in words, before anything is exported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eseg_export.card import card_of
from eseg_export.names import channel_names, refuse_unusable_names
from eseg_export.package import export

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.errors import ConfigError


@pytest.mark.parametrize(
    ("card", "complaint"),
    [
        (
            {"id": ""},
            r"id: '' is not an identifier; it must have 1 to 64 characters, letters a to z, digits, - and _ alone",
        ),
        ({"id": "lab/model"}, r"id: 'lab/model' is not an identifier; .*no dots or slashes"),
        ({"id": "../../etc"}, r"id: '\.\./\.\./etc' is not an identifier; .*no dots or slashes"),
        ({"id": "Shark"}, r"id: 'Shark' is not an identifier; .*such as affable-shark"),
        ({"id": "a" * 65}, r"id: 'a{50}' \.\.\. \(65 characters\) is not an identifier; it must have 1 to 64"),
        ({"id": "a" * 300}, r"id has 300 characters; 256 are allowed"),
        (
            {"name": ""},
            r"name: '' is not a name of a model; it must have 5 to 64 characters, letters A to Z, digits, spac",
        ),
        ({"name": "a.b/c.d"}, r"name: 'a\.b/c\.d' is not a name of a model; .* _\+-\(\) alone"),
        ({"name": "-----"}, r"name: '-----' is not a name of a model; .*one letter or digit at least"),
        ({"name": " membranes"}, r"name: ' membranes' is not a name of a model; .*no space at its ends"),
        ({"name": "mem\nbranes"}, r"name has a line break"),
        ({"name": "a" * 300}, r"name has 300 characters; 256 are allowed"),
        ({"description": ""}, r"description is blank; say something, or leave it out"),
        ({"description": " \n"}, r"description is blank"),
        ({"description": "a\x07b"}, r"description has the control character U\+0007"),
        ({"training_data": " "}, r"training_data is blank"),
        ({"tags": ["em", " "]}, r"tags\.1 is blank"),
        ({"tags": ["e\x1bm"]}, r"tags has the control character U\+001B"),
        ({"authors": [{"name": "Ada\nLovelace"}]}, r"authors\.0\.name has a line break"),
        ({"authors": [{"name": "A" * 300}]}, r"authors\.0\.name has 300 characters; 256 are allowed"),
    ],
)
def test_a_name_in_the_card_is_refused_with_the_rule(
    checkpoint: Checkpoint, tmp_path: Path, card: dict[str, Any], complaint: str
) -> None:
    steps: list[str] = []
    with pytest.raises(ConfigError, match=f"card: {complaint}") as caught:
        export(checkpoint, tmp_path / "model.zip", card=card, progress=steps.append)
    assert len(str(caught.value)) < 400
    assert (steps, list(tmp_path.iterdir())) == ([], [])


def test_texts_of_several_lines_are_no_names() -> None:
    assert card_of({"limits": "It does not know:\n\t- bacteria"}).limits == "It does not know:\n\t- bacteria"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("", r"class 2 has no name; a name is at least one letter"),
        (" \u3000", r"class 2 has no name"),
        ("mito\nchondrion", r"class 2 has a line break in its name 'mito\\nchondrion'; a name is one line of text"),
        ("a\u2028b", r"class 2 has a line break"),
        ("a\x00b", r"class 2 has the control character U\+0000"),
        ("a\ud800b", r"class 2 has the control character U\+D800"),
        ("m" * 300, r"class 2 has a name of 300 characters; 128 are allowed: 'm{30}' \.\.\."),
    ],
)
def test_a_class_that_cannot_be_named_is_refused_before_anything_is_exported(
    checkpoint: Checkpoint, tmp_path: Path, name: str, complaint: str
) -> None:
    first, second, third = checkpoint.classes
    steps: list[str] = []
    named = replace(checkpoint, classes=(first, replace(second, name=name), third))
    with pytest.raises(ConfigError, match=complaint):
        export(named, tmp_path / "model.zip", progress=steps.append)
    assert (steps, list(tmp_path.iterdir())) == ([], [])


def test_channels_are_held_to_the_same_rule(checkpoint: Checkpoint) -> None:
    with pytest.raises(ConfigError, match=r"channel 1 has the control character U\+0007"):
        refuse_unusable_names(replace(checkpoint, channel_names=("DA\x07PI",)))


def test_any_name_becomes_an_identifier() -> None:
    names = ["1e3", "yes", "~", "\u093e", "膜", "мембрана", "a/b", "²"]
    found = channel_names(names)
    assert all(name.isidentifier() for name in found)
    assert len(set(found)) == len(names)
