"""Fields of `model.pt` that are altered: one line, or a model that is equal and works."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eseg_zoo.api import Model
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.errors import CheckpointError
from eseg_zoo.model.hvae import HVAE
from fuzz.outcomes import CASES, ODD, altered, damaged, deep, outcome, written

FORMAT_2, FORMAT_3 = (Path(__file__).parents[1] / f"data/checkpoints/format{number}.pt" for number in (2, 3))


def odd_tensors() -> list[Any]:
    return [
        torch.zeros(()), torch.zeros(0), torch.zeros(1), torch.zeros(2, 3), torch.ones(1, 1, 1, 1, dtype=torch.float64),
        torch.full((1, 1, 1, 1), float("nan")), torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1, dtype=torch.complex64),
        torch.zeros(1).expand(10**9), torch.zeros(3, device="meta"), torch.zeros(2, 2).to_sparse(),
        torch.ones((), dtype=torch.int64), -torch.ones(()),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def contents(checkpoint: Checkpoint) -> list[dict[str, Any]]:
    """Checkpoints of all formats as their files hold them."""
    generative = {
        key: value
        for key, value in HVAE(checkpoint.architecture).state_dict().items()
        if not key.startswith("classifier.")
    }
    file = io.BytesIO()
    from dataclasses import replace

    from eseg_zoo.checkpoint import _MAGIC, FORMAT, _plain

    torch.save({"magic": _MAGIC, "format": FORMAT, **_plain(replace(checkpoint, generative_state=generative))}, file)
    file.seek(0)
    return [
        torch.load(file, weights_only=True),
        *(torch.load(file, weights_only=True) for file in (FORMAT_3, FORMAT_2)),
    ]


def flattened(content: dict[str, Any]) -> dict[str, Any]:
    """The content without most of its many weights, of which any stands for all."""
    return content | {
        name: {key: content[name][key] for key in [*list(content[name])[:4], *list(content[name])[-2:]]}
        for name in ("segmenter_state", "generative_state")
    }


def whole(content: Any, original: dict[str, Any]) -> Any:
    """The altered content with the weights that were left out."""
    if not isinstance(content, dict):
        return content
    for name in ("segmenter_state", "generative_state"):
        if isinstance(content.get(name), dict):
            shown = flattened(original)[name]
            content[name] = {key: one for key, one in original[name].items() if key not in shown} | content[name]
    return content


def probabilities(checkpoint: Checkpoint) -> torch.Tensor:
    with torch.inference_mode():
        image = torch.arange(20.0 * 20).reshape(1, 1, 20, 20) % 251
        found: torch.Tensor = checkpoint.segmenter()(image)
        return found


@pytest.mark.parametrize("number", [0, 1, 2], ids=["format 4", "format 3", "format 2"])
def test_altered_fields_are_one_line_or_an_equal_model(
    tmp_path: Path, contents: list[dict[str, Any]], number: int
) -> None:
    original = contents[number]
    torch.save(original, tmp_path / "model.pt")
    expected = probabilities(Checkpoint.load(tmp_path / "model.pt"))
    refused = 0
    for case in range(max(CASES, 200)):
        rng = np.random.default_rng([case, number])
        odd = [*ODD, *odd_tensors(), deep(50)]
        content, what = altered(flattened(original), rng, odd)
        torch.save(whole(copy.deepcopy(content) if case % 2 else content, original), tmp_path / "model.pt")

        def use(what: str = what) -> None:
            loaded = Checkpoint.load(tmp_path / "model.pt")
            if "architecture.strides" not in what:  # weights have no strides: another one is another network
                assert torch.equal(probabilities(loaded), expected), what
            repr(Model(loaded)), loaded.digest, loaded.unlabelled, loaded.knows_symmetries, loaded.prior_strength
            loaded.save(tmp_path / "again.pt", force=True)
            Checkpoint.load(tmp_path / "again.pt")

        try:
            refused += bool(outcome(use))
        except BaseException as error:
            error.add_note(f"case {case}: {what}")
            raise
    assert refused > max(CASES, 200) / 3


def test_damaged_bytes_are_one_line_or_an_equal_model(tmp_path: Path) -> None:
    content = FORMAT_2.read_bytes()
    for case in range(CASES):
        path = written(tmp_path / "model.pt", damaged(content, np.random.default_rng(case)))
        try:
            outcome(lambda path=path: Checkpoint.load(path))  # type: ignore[misc]
        except BaseException as error:
            error.add_note(f"case {case}")
            raise


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"strides": [[10**6, 10**6]] * 3}, r"strides.0.0 is 1000000"),
        ({"strides": [[2, 2]] * 10**6}, "at most 8 items"),
        ({"filters": [4096] * 3}, "more than"),
        ({"kernels": [[2, 2]] * 3}, "odd"),
        ({"dims": 4}, "dims is 4"),
        ({"dims": True}, "dims is True"),
        ({"classes": 10**9}, "classes is 1000000000"),
        ({"latents": 5}, "the network has"),
    ],
    ids=str,
)
def test_an_architecture_is_checked_before_it_is_built(
    tmp_path: Path, contents: list[dict[str, Any]], change: dict[str, Any], words: str
) -> None:
    content = contents[0] | {"architecture": contents[0]["architecture"] | change}
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=words):
        Checkpoint.load(tmp_path / "model.pt")


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred", "a\u202eb", " ", "x" * 257, "a\0"])
@pytest.mark.parametrize("field", ["classes", "channel_names"])
def test_names_with_control_characters_are_refused(
    tmp_path: Path, contents: list[dict[str, Any]], name: str, field: str
) -> None:
    content = copy.deepcopy(contents[0])
    if field == "classes":
        content["classes"][0]["name"] = name
    else:
        content["channel_names"] = (name,)
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(CheckpointError) as caught:
        Checkpoint.load(tmp_path / "model.pt")
    assert str(caught.value).isprintable()
    assert "must" in str(caught.value)


def test_a_compressed_file_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "model.pt", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(10**7))
    with pytest.raises(CheckpointError, match="compressed"):
        Checkpoint.load(tmp_path / "model.pt")


@pytest.mark.parametrize("name", ["class_names", "class_values", "class_frequencies"])
def test_classes_of_format_2_that_claim_a_huge_size_are_refused(
    tmp_path: Path, contents: list[dict[str, Any]], name: str
) -> None:
    torch.save(contents[2] | {name: torch.zeros(1).expand(10**12)}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=f"{name} must be a list"):
        Checkpoint.load(tmp_path / "model.pt")
