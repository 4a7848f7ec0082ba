"""A checkpoint returns as it was written, and nothing else is taken for one or is ever executed."""

from __future__ import annotations

import os
import pickle
import zipfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
import tifffile
import torch

from eseg_zoo.checkpoint import FORMAT, Checkpoint, Class
from eseg_zoo.colours import class_colours
from eseg_zoo.errors import CheckpointError, OutputError
from eseg_zoo.model.architecture import Architecture
from eseg_zoo.model.dense import DenseSegmenter
from eseg_zoo.model.hvae import HVAE

FORMAT_2 = Path(__file__).parent / "data/checkpoints/format2.pt"
FORMAT_3 = Path(__file__).parent / "data/checkpoints/format3.pt"  # the same model, saved by the code of format 3


class MakeCheckpoint(Protocol):
    """The factory in tests/conftest.py."""

    def __call__(self, dims: int = 2, *, channels: int = 1, classes: int = 3, seed: int = 0) -> Checkpoint: ...


@pytest.fixture
def saved(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    checkpoint.save(tmp_path / "model.pt")
    return tmp_path / "model.pt"


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        Checkpoint.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{path} ")


class Code:
    """A pickle that makes the file `trace` when it is executed."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


# ---------------------------------------------------------------------------------------------------- round trip


@pytest.mark.parametrize(("dims", "channels"), [(2, 1), (2, 3), (3, 1)])
def test_a_loaded_checkpoint_predicts_the_same(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, dims: int, channels: int
) -> None:
    original = make_checkpoint(dims, channels=channels)
    original.save(tmp_path / "model.pt")
    loaded = Checkpoint.load(tmp_path / "model.pt")
    assert loaded.dims == dims
    image = original.sample[(None, slice(None), *[slice(0, 9)] * dims)].float()
    with torch.no_grad():
        expected, found = original.segmenter()(image), loaded.segmenter()(image)
        untrained = DenseSegmenter.of(original.architecture).eval()(image)
    assert torch.equal(found, expected)
    assert not torch.allclose(found, untrained, atol=1e-2)


def test_every_field_returns_as_it_was(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    plain = make_checkpoint()
    weights = HVAE(plain.architecture).state_dict()
    generative = {key: value for key, value in weights.items() if not key.startswith("classifier.")}
    original = replace(plain, generative_state=generative)
    original.save(tmp_path / "model.pt")
    loaded = Checkpoint.load(tmp_path / "model.pt")
    for field in fields(Checkpoint):
        before, after = getattr(original, field.name), getattr(loaded, field.name)
        assert type(after) is type(before) or isinstance(before, dict), field.name
        if field.name.endswith("_state"):
            assert before.keys() == after.keys()
            assert all(torch.equal(before[key], after[key]) for key in before)
        elif isinstance(before, torch.Tensor):
            assert torch.equal(before, after)
            assert before.dtype == after.dtype
        else:
            assert after == before, field.name


def test_the_file_holds_no_code_and_no_other_file_is_needed(saved: Path) -> None:
    content = torch.load(saved, weights_only=True)
    assert content["format"] == FORMAT
    assert [one["name"] for one in content["classes"]] == ["membrane", "cytoplasm", "mito|chondrion"]


def test_the_segmenter_is_in_eval_mode_and_apart_from_the_checkpoint(checkpoint: Checkpoint) -> None:
    segmenter = checkpoint.segmenter()
    assert not any(module.training for module in segmenter.modules())
    with torch.no_grad():
        segmenter.mean.fill_(-1)
    assert checkpoint.segmenter_state["mean"].item() == pytest.approx(127.3)


def test_a_checkpoint_of_format_2_predicts_reconstructs_and_imagines_as_the_code_that_wrote_it() -> None:
    loaded = Checkpoint.load(FORMAT_2)
    assert loaded.classes == (Class("dark", 1, 0.3, class_colours(2)[0]), Class("bright", 4, 0.7, class_colours(2)[1]))
    assert loaded.architecture == Architecture(2, 1, 2, [4, 5, 6], 3, [[2, 2]] * 3, [[3, 3]] * 3)
    expected = np.load(FORMAT_2.with_suffix(".npz"))  # every fourth pixel, by that code
    segmenter, hvae = loaded.segmenter(), loaded.hvae()
    with torch.inference_mode():
        image = loaded.sample[None].float()
        seen = segmenter.normalise(segmenter.reflect(image))
        found = {
            "probabilities": segmenter(image),
            "reconstruction": hvae(seen, torch.Generator().manual_seed(5)).reconstruction,
            "imagined": hvae.imagine(seen, 1, torch.Generator().manual_seed(6)),
        }
    for name, values in found.items():
        np.testing.assert_allclose(values[..., ::4, ::4].numpy(), expected[name], rtol=0, atol=1e-4, err_msg=name)
        assert np.ptp(expected[name]) > 0.1, name


# ------------------------------------------------------------------------------------------------------- refusals


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent.pt") == f"does not exist in {tmp_path}"
    (tmp_path / "model.pt").touch()
    assert refusal(tmp_path / "modell.pt") == f"does not exist in {tmp_path}; did you mean model.pt?"


@pytest.mark.parametrize(
    "content",
    [b"", b"just a text\n", b"images: raw.tif\n", b"II*\x00\x08\x00\x00\x00" + bytes(60), b"PK\x03\x04" + bytes(60)],
    ids=["empty", "text", "YAML", "TIFF", "zip"],
)
def test_other_kinds_of_file_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    assert refusal(path).startswith(("is not an eseg_zoo checkpoint", "is a text file, not a", "is a TIFF file, not a"))


def test_what_is_given_in_place_of_a_model_is_named(tmp_path: Path, saved: Path) -> None:
    run, image, package = (tmp_path / name for name in ("run.yaml", "raw.tif", "model.zip"))
    run.write_text("images: raw.tif\n")
    tifffile.imwrite(image, np.zeros((4, 4), np.uint8))
    with zipfile.ZipFile(package, "w") as file:
        file.writestr("rdf.yaml", "name: a")
    assert refusal(run) == "is a YAML file, not a model; a run's model is model.pt in its folder 'out'"
    assert refusal(image).startswith("is a TIFF file, not a model; ")
    assert refusal(package).startswith("is a package of other software: it can be applied (eseg predict), but not")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert refusal(empty).startswith("is a folder, not a model; a model is the file model.pt")
    assert refusal(saved.parent) == f"is a folder, not a model; did you mean {saved}?"


@pytest.mark.parametrize("kept", [1, 4, 30, 1000, 0.1, 0.5, 0.9, -30, -1])
def test_a_truncated_file_is_refused(saved: Path, kept: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    assert refusal(saved).startswith("is not an eseg_zoo checkpoint")


def test_random_bytes_are_refused(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "model.pt"
    for length in range(1, 100):
        path.write_bytes(rng.bytes(length))
        refusal(path)
        path.write_bytes(b"\x80\x02" + rng.bytes(length))  # the beginning of a pickle
        refusal(path)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_pickle_with_code_is_refused_and_not_executed(tmp_path: Path, protocol: int) -> None:
    path, trace = tmp_path / "model.pt", tmp_path / "executed"
    path.write_bytes(pickle.dumps({"magic": Code(trace)}, protocol))
    refusal(path)
    assert not trace.exists()
    pickle.loads(path.read_bytes())
    assert trace.exists()  # the trap works


def test_code_inside_a_checkpoint_is_refused_and_not_executed(saved: Path, tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    torch.save(torch.load(saved, weights_only=True) | {"settings": {"seed": Code(trace)}}, saved)
    assert "holds code, which is never executed" in refusal(saved)
    assert not trace.exists()


@pytest.mark.parametrize(
    "content", [{"state_dict": {}}, torch.ones(3), [1, 2], {}], ids=["dict", "tensor", "list", "{}"]
)
def test_another_torch_file_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "model.pt")
    assert refusal(tmp_path / "model.pt") == "is a torch file, but not an eseg_zoo checkpoint"


@pytest.mark.parametrize("other", [1, FORMAT + 1, None, "3"])
def test_another_format_is_refused_with_both_numbers(saved: Path, other: int) -> None:
    torch.save(torch.load(saved, weights_only=True) | {"format": other}, saved)
    assert refusal(saved) == f"has checkpoint format {other!r}; this version of eseg_zoo reads 2, 3 and 4"


@pytest.mark.parametrize(
    ("key", "damaged"),
    [
        ("classes", [{"name": "a"}]),
        ("classes", 3),
        ("architecture", {"dims": 2}),
        ("architecture", [2]),
        ("training", {"steps": 3}),
    ],
    ids=str,
)
def test_a_checkpoint_with_a_damaged_field_is_refused(saved: Path, key: str, damaged: object) -> None:
    torch.save(torch.load(saved, weights_only=True) | {key: damaged}, saved)
    assert refusal(saved).startswith("is damaged: ")


def test_a_checkpoint_of_format_2_with_unequal_classes_is_refused(tmp_path: Path) -> None:
    content = torch.load(FORMAT_2, weights_only=True)
    torch.save(content | {"class_values": (1, 4, 5)}, tmp_path / "model.pt")
    assert refusal(tmp_path / "model.pt").startswith("is damaged: ")


def test_a_checkpoint_of_format_3_is_that_of_format_2_with_the_colours_of_the_palette() -> None:
    content = torch.load(FORMAT_3, weights_only=True)
    assert content["format"] == 3
    assert all("colour" not in one for one in content["classes"])
    found, expected = Checkpoint.load(FORMAT_3), Checkpoint.load(FORMAT_2)
    assert found.classes == expected.classes
    assert [one.colour for one in found.classes] == class_colours(2)
    assert found.digest == expected.digest
    assert found.settings == expected.settings


@pytest.mark.parametrize("file", [FORMAT_2, FORMAT_3], ids=["2", "3"])
def test_a_checkpoint_of_an_older_format_returns_the_same_when_it_is_saved_anew(tmp_path: Path, file: Path) -> None:
    before = Checkpoint.load(file)
    before.save(tmp_path / "model.pt")
    after = Checkpoint.load(tmp_path / "model.pt")
    assert torch.load(tmp_path / "model.pt", weights_only=True)["format"] == FORMAT
    assert (after.classes, after.architecture, after.settings) == (before.classes, before.architecture, before.settings)


@pytest.mark.parametrize("key", [*(field.name for field in fields(Checkpoint)), "format"])
def test_a_checkpoint_that_lacks_a_field_is_refused(saved: Path, key: str) -> None:
    content = torch.load(saved, weights_only=True)
    del content[key]
    torch.save(content, saved)
    assert key in refusal(saved) or key == "format"


# -------------------------------------------------------------------------------------------------------- writing


def test_an_existing_file_is_kept_to_the_byte_unless_forced(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match=r"model\.pt exists already; give --force to replace it"):
        checkpoint.save(path)
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]
    checkpoint.save(path, force=True)
    assert Checkpoint.load(path).class_names == checkpoint.class_names
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "failure",
    [
        OSError(28, "No space left on device"),
        RuntimeError("PytorchStreamWriter failed writing file"),
        KeyboardInterrupt(),
    ],
    ids=repr,
)
def test_a_failed_save_keeps_the_old_file_and_leaves_no_other(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    def fail(content: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise failure

    path = tmp_path / "model.pt"
    path.write_bytes(b"precious")
    monkeypatch.setattr(torch, "save", fail)
    expected = KeyboardInterrupt if isinstance(failure, KeyboardInterrupt) else OutputError
    with pytest.raises(expected) as caught:
        checkpoint.save(path, force=True)
    assert expected is KeyboardInterrupt or str(caught.value).startswith(f"{path} cannot be written: ")
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_one_line(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "absent" / "model.pt"
    with pytest.raises(OutputError, match=r"model\.pt cannot be written: "):
        checkpoint.save(path)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)], ids=oct)
def test_permissions_follow_the_umask(checkpoint: Checkpoint, tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        checkpoint.save(tmp_path / "model.pt")
    finally:
        os.umask(before)
    assert (tmp_path / "model.pt").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize(
    "changes",
    [
        {"confusion": [[1, 2], [3, 4]]},
        {"confusion": [[1, 2, -3], [0, 0, 0], [0, 0, 0]]},
        {"reliability": {"with": [[1, 1, 0.5]]}},
        {"reliability": {"with": [], "without": []}},
        {"expected_dice": {"membrane": [0.5]}},
        {"strokes": {"membrane": 1.5}},
    ],
)
def test_what_only_the_report_shows_is_checked_too(
    tmp_path: Path, checkpoint: Checkpoint, changes: dict[str, Any]
) -> None:
    replace(checkpoint, training=replace(checkpoint.training, **changes)).save(tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="is damaged"):
        Checkpoint.load(tmp_path / "model.pt")
