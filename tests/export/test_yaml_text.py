"""Text stays text in YAML 1.1 and 1.2, from a card to the package."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ruyaml
import yaml
from eseg_export.card import card_of
from eseg_export.finished import read_package
from eseg_export.package import export
from eseg_export.qupath import QUPATH
from eseg_export.yaml_text import to_yaml
from hypothesis import given
from hypothesis import strategies as st

from eseg_zoo.checkpoint import Checkpoint

# What YAML 1.1 or 1.2 takes for a number, a date, a time of day, a truth or nothing.
TREACHEROUS = [
    "1e3", "1E3", ".5", "1.", "+1", "-0", "0o17", "017", "0x1F", "0b101", "1_000", "1:30", "190:20:30", "12e03", ".inf",
    "-.INF", ".NaN", "yes", "No", "ON", "off", "y", "N", "true", "False", "null", "Null", "~", "", "=", "<<",
    "2024-01-01",
    "2001-12-14t21:59:43.10-05:00", "1.10", "1.2.3", "0.5.4", "- a", "a: b", "#a", "a #b", "'", '"', "{a}", "[a]", "&a",
    "*a", "!a", "%a", "@a", "`a", "|", ">", "?", " a ", "膜", "ε-Seg", "😀", "nan", "inf", "Infinity",
]  # fmt: skip


def read_1_2(text: str | bytes) -> Any:
    return ruyaml.YAML(typ="safe").load(text)


def test_treacherous_texts_are_the_same_in_both_versions() -> None:
    values = {"texts": TREACHEROUS, "keys": dict.fromkeys(TREACHEROUS, 1), "numbers": [1, 0.5, 1e-7, True, None]}
    text = to_yaml(values)
    assert yaml.safe_load(text) == values
    assert read_1_2(text) == values


@pytest.mark.parametrize("word", [text for text in TREACHEROUS if text[:1].isalnum() and text.isascii()])
def test_what_some_parser_takes_for_something_else_stands_in_quotes(word: str) -> None:
    if word.lower() in ("a: b", "a #b", "infinity"):
        pytest.skip("no parser takes it for anything else")
    events = yaml.parse(to_yaml({"key": [word]}))
    (scalar,) = [event for event in events if isinstance(event, yaml.ScalarEvent) and event.value == word]
    assert scalar.style in ("'", '"')


@given(
    st.text(st.characters(blacklist_categories=("Cc", "Cs", "Cn"), blacklist_characters="\u2028\u2029"), max_size=200)
)
def test_any_line_of_text_comes_back(text: str) -> None:
    written = to_yaml({"key": text})
    assert yaml.safe_load(written) == read_1_2(written) == {"key": text}


def test_numbers_and_words_in_a_card_are_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "card.yaml"
    path.write_text(
        "version: 1.10\ntags: [1e3, 0o17, yes, 1:30, 2024-01-01, 017]\nauthors: [{name: 007}, {name: No}]\nlicense: ~\n"
        "training_data: 12\n"
    )
    card = card_of(path)
    assert str(card.version) == "1.10"
    assert card.tags == ("1e3", "0o17", "yes", "1:30", "2024-01-01", "017")
    assert [author.name for author in card.authors] == ["007", "No"]
    assert (card.license, card.training_data) == (None, "12")


@pytest.mark.slow
def test_a_package_of_treacherous_names_says_them_in_both_versions(checkpoint: Checkpoint, tmp_path: Path) -> None:
    names = ("1e3", "yes", "~")
    named = replace(
        checkpoint, classes=tuple(replace(c, name=n) for c, n in zip(checkpoint.classes, names, strict=True))
    )
    card = {"version": "1.10", "tags": ["0o17", "1:30", "null"], "authors": [{"name": "1e3"}], "license": "MIT"}
    finished = export(named, tmp_path / "model.zip", card=card)  # the zoo's own tests read it too
    files = read_package(finished.path).files
    for file, read in [(file, read) for file in ("rdf.yaml", QUPATH) for read in (yaml.safe_load, read_1_2)]:
        rdf = read(files[file])
        assert rdf["version"] == "1.10"
        assert set(card["tags"]) <= set(rdf["tags"])
        assert rdf["authors"][0]["name"] == "1e3"
    for read in (yaml.safe_load, read_1_2):
        eseg = read(files["rdf.yaml"])["config"]["eseg"]
        assert tuple(entry["name"] for entry in eseg["classes"]) == names
        assert list(eseg["settings"]["classes"].values()) == ["membrane", "cytoplasm", "mito|chondrion"]
