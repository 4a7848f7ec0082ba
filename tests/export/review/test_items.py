"""Every item of the checklist, with a package that has it and one that lacks it."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pytest
from eseg_export.card import Card
from eseg_export.finished import FinishedPackage
from eseg_export.review import sources
from eseg_export.review.answers import State
from eseg_export.review.items import ITEMS, Item, missing_for_publication
from eseg_export.review.sources import Source
from PIL import Image

from .conftest import Edit, Plain, edited

BY_NAME = {item.what: item for item in ITEMS}
README = "README.md"


def unstate(key: str) -> Edit:
    return lambda rdf, files: rdf["config"]["eseg"]["card"].pop(key)


def drop(key: str) -> Edit:
    return lambda rdf, files: rdf.pop(key)


def own(rdf: Plain) -> dict[str, Any]:
    found: dict[str, Any] = rdf["config"]["eseg"]
    return found


def rewrite(old: str, new: str) -> Edit:
    def edit(rdf: Plain, files: dict[str, bytes]) -> None:
        assert old.encode() in files[README]
        files[README] = files[README].replace(old.encode(), new.encode())

    return edit


def cover_of(width: int, height: int, *, noise: bool = False) -> Edit:
    def edit(rdf: Plain, files: dict[str, bytes]) -> None:
        picture = Image.effect_noise((width, height), 99) if noise else Image.new("L", (width, height))
        target = BytesIO()
        picture.save(target, "PNG")
        files["cover.png"] = target.getvalue()

    return edit


def all_need_an_environment(rdf: Plain, files: dict[str, bytes]) -> None:
    for entry in rdf["weights"].values():
        entry["dependencies"] = {"source": "environment.yaml"}


@dataclass(frozen=True)
class Case:
    item: str
    lack: Edit
    found: str  # a part of what is told where it is lacking
    state: State = State.MISSING
    before: State = State.OK  # of the package that has it


CASES = (
    Case("authors", drop("authors"), "nobody is named"),
    Case("maintainers, or a github_user of an author", drop("maintainers"), "no maintainer"),
    Case("license", drop("license"), "there is none"),
    Case("license", lambda rdf, _: rdf.update(license={"source": "LICENSE"}), "a text of its own", State.LOOK),
    Case("training_data", unstate("training_data"), "not stated"),
    Case(
        "training_data", lambda rdf, _: own(rdf)["card"].update(training_data="A cord."), "no address", State.LOOK
    ),
    Case("description", unstate("description"), "the template's"),
    Case("name", unstate("name"), "that the template gives", before=State.LOOK),
    Case("affiliation and orcid", lambda rdf, _: rdf["authors"][0].pop("orcid"), "Jane Doe has no orcid"),
    Case("cite", drop("cite"), "nothing is cited"),
    Case("cite", lambda rdf, _: rdf["cite"][1].pop("doi"), "Flies"),
    Case("cite", unstate("cite"), "the method is cited alone", State.LOOK),
    Case("tags", unstate("tags"), "only the template's"),
    Case("tags", lambda rdf, _: rdf["tags"].remove("electron-microscopy"), "that the zoo has for modality"),
    Case("version", drop("version"), "there is none"),
    Case("git_repo", drop("git_repo"), "not stated"),
    Case("README", rewrite("## Limits", "## Ends"), "without Limits"),
    Case("README", lambda rdf, files: files.pop(README), "Validation"),
    Case("validation", lambda rdf, _: own(rdf).pop("evaluation"), "only held-out strokes", before=State.LOOK),
    Case("intended use", unstate("intended_use"), "the template's words", State.LOOK),
    Case("limits", unstate("limits"), "the template's words", State.LOOK),
    Case("pixel size", lambda rdf, _: own(rdf).update(pixel_size={}), "unknown", State.LOOK),
    Case("cover", drop("covers"), "there is none", before=State.LOOK),
    Case("cover", cover_of(300, 100), "neither 2:1 nor 1:1", before=State.LOOK),
    Case("cover", cover_of(900, 900, noise=True), "500 are allowed", before=State.LOOK),
    Case("cover", lambda _, files: files.update({"cover.png": b"no"}), "not a readable picture", before=State.LOOK),
    Case("test and sample data", lambda rdf, _: rdf["inputs"][0].pop("test_tensor"), "input has no test_tensor"),
    Case("test and sample data", lambda _, files: files.pop("sample_output.tif"), "output has no sample_tensor"),
    Case("reproducible", lambda rdf, _: own(rdf).pop("reproducibility"), "not measured", State.LOOK),
    Case(
        "reproducible",
        lambda rdf, _: own(rdf)["reproducibility"]["mismatched_per_million"]["tf32"].update(default=5e3),
        "5,000 values per million",
        State.LOOK,
    ),
    Case("standard runtime", all_need_an_environment, "an environment of its own"),
    Case("software", lambda _, files: files.update({"dense.py": b""}), "dense.py has the sha256"),
    Case("files and size", lambda _, files: files.update({"draft.png": b""}), "does not name draft.png"),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.item}: {case.found}")
def test_what_is_lacking_is_told(complete: FinishedPackage, case: Case) -> None:
    item = BY_NAME[case.item]
    assert item.answer(complete).state is case.before
    answer = item.answer(edited(complete, case.lack))
    assert answer.state is case.state
    assert case.found in answer.found


def test_every_item_is_tried() -> None:
    assert {case.item for case in CASES} == {item.what for item in ITEMS}


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.what)
def test_every_item_says_how_to_fix_it_and_who_asks(item: Item) -> None:
    known = [value for value in vars(sources).values() if isinstance(value, Source)]
    assert item.fix
    assert item.sources
    assert all(source in known and source.address.startswith("https://") and source.date for source in item.sources)


def test_a_fix_in_the_card_names_a_key_of_the_card() -> None:
    named = [item.fix.split(" in the card")[0] for item in ITEMS if item.fix.count(" in the card") == 1]
    keys = [word for text in named for word in text.replace(",", " ").split() if "_" in word or text == word]
    assert {"license", "training_data", "intended_use", "limits", "git_repo"} <= set(keys)
    assert {key for key in keys if key not in ("voxel_size",)} <= set(Card.model_fields)


def test_a_bare_package_lacks_what_only_people_know(bare: FinishedPackage) -> None:
    lacking = [item.what for item in ITEMS if item.answer(bare).state is State.MISSING]
    assert lacking == [
        "authors", "maintainers, or a github_user of an author", "license", "training_data", "description", "name",
        "affiliation and orcid", "tags", "git_repo", "validation",
    ]  # fmt: skip


def test_only_what_comes_first_is_named_by_every_export(bare: FinishedPackage, complete: FinishedPackage) -> None:
    assert [what.split(":")[0] for what in missing_for_publication(bare)] == [
        "authors", "maintainers, or a github_user of an author", "license", "training_data", "description",
    ]  # fmt: skip
    assert missing_for_publication(complete) == []


def test_of_a_package_of_other_software_everything_was_stated_by_somebody(complete: FinishedPackage) -> None:
    foreign = edited(complete, lambda rdf, _: rdf.pop("config"))
    states = {item.what: item.answer(foreign).state for item in ITEMS}
    for what in ("description", "cite", "tags", "intended use", "limits"):
        assert states[what] is State.OK
    assert states["name"] is State.LOOK
    assert states["reproducible"] is State.LOOK


@pytest.mark.parametrize("value", ["text", 7, [1], {"a": None}, [None], [{}], [["a"]]])
@pytest.mark.parametrize("field", ["authors", "cite", "covers", "inputs", "weights", "config", "tags", "documentation"])
def test_a_description_of_any_form_is_answered(complete: FinishedPackage, field: str, value: object) -> None:
    odd = edited(complete, lambda rdf, _: rdf.update({field: value}))
    assert all(item.answer(odd).found for item in ITEMS)


def test_a_comment_in_an_example_is_no_heading(complete: FinishedPackage) -> None:
    hidden = edited(complete, rewrite("## Limits", "```python\n## Limits\n```"))
    assert BY_NAME["README"].answer(hidden).state is State.MISSING
