"""Two predictions into one target, things in the way, links, and what killed ones leave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.errors import OutputError
from eseg_zoo.images.ome_zarr_writer import MARK
from eseg_zoo.inference.jobs import WantedMaps
from eseg_zoo.inference.predict import ChunksDone, Computing
from inference.predictions import PIXELS, array, content, predict, write_inputs

LABELS = WantedMaps()


@pytest.fixture
def folder(tmp_path: Path, checkpoint: Checkpoint) -> Path:
    write_inputs(tmp_path, checkpoint)
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("out", ["out.ome.zarr", "maps"])
def test_a_second_prediction_into_one_target_is_refused_even_by_force(folder: Path, out: str) -> None:
    refused: list[str] = []

    def second(step: ChunksDone) -> None:
        if step.chunks == 5:
            for force in (False, True):
                with pytest.raises(OutputError, match="is being written by another command") as caught:
                    predict(folder, out, wanted=LABELS, force=force)
                refused.append(str(caught.value))

    found = predict(folder, out, wanted=LABELS, report=second)
    assert len(refused) == 2
    assert content(found).keys() == content(predict(folder, f"again_{out}", wanted=LABELS)).keys()
    if out == "out.ome.zarr":
        assert content(found) == content(folder / f"again_{out}")


def test_a_prediction_that_lost_its_lock_ends_in_one_line_and_keeps_nothing_half(folder: Path) -> None:
    def lose(step: ChunksDone) -> None:
        if step.chunks == 5:
            (folder / ".out.ome.zarr.lock").unlink()

    with pytest.raises(OutputError, match="was removed or taken over"):
        predict(folder, wanted=LABELS, report=lose)
    assert names(folder) == ["model.pt", "out.ome.zarr.partial", "v.ome.tif"]


@pytest.mark.parametrize("chunk", ["labels/classes/0/2/1/1", "0/3/2/1/1", "labels/classes/2/0/0/0"])
@pytest.mark.parametrize("out", ["out.ome.zarr", "maps"])
def test_a_result_with_a_chunk_missing_never_gets_its_name(folder: Path, chunk: str, out: str) -> None:
    if out == "maps" and "classes/2" in chunk:
        pytest.skip("maps in TIFF have one level")
    name = "out.ome.zarr.partial" if out == "out.ome.zarr" else "maps/v_classes.ome.tif.partial"

    def remove(step: ChunksDone) -> None:
        if step.chunks == step.total:
            (folder / name / chunk).unlink()

    with pytest.raises(OutputError, match=r"lacks 1 of its \d+ chunks"):
        predict(folder, out, report=remove)
    assert (folder / name).exists()
    assert not list(folder.rglob("*classes.ome.tif"))
    assert not (folder / "out.ome.zarr").exists()


# ----------------------------------------------------------------------------------------------- nothing foreign goes


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("kind", ["folder", "empty folder", "file", "link"])
@pytest.mark.parametrize("out", ["out.ome.zarr", "maps"])
def test_what_is_in_the_place_of_the_unfinished_result_is_named_and_kept(
    folder: Path, kind: str, force: bool, out: str
) -> None:
    path = folder / ("out.ome.zarr.partial" if out == "out.ome.zarr" else "maps/v_classes.ome.tif.partial")
    path.parent.mkdir(exist_ok=True)
    (folder / "photos").mkdir()
    (folder / "photos" / "me.png").write_bytes(b"precious")
    if kind == "link":
        path.symlink_to(folder / "photos")
    elif kind == "file":
        path.write_bytes(b"precious")
    else:
        path.mkdir()
        if kind == "folder":
            (path / "me.png").write_bytes(b"precious")
    before = content(folder)
    with pytest.raises(OutputError, match=rf"{path.name} is a (folder|file|link) that eseg_zoo has not made"):
        predict(folder, out, force=force)
    assert content(folder) == before
    assert os.path.lexists(path)


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_called_replaced_is_kept_and_in_nobodys_way(folder: Path, kind: str) -> None:
    predict(folder, wanted=LABELS)
    path = folder / "out.ome.zarr.replaced"
    path.mkdir() if kind == "folder" else path.write_bytes(b"precious")
    predict(folder, wanted=LABELS, force=True)
    assert names(folder) == ["model.pt", "out.ome.zarr", "out.ome.zarr.replaced", "v.ome.tif"]


@pytest.mark.parametrize("out", ["photos.zarr", "maps"])
def test_not_even_force_replaces_a_folder_that_is_no_result(folder: Path, out: str) -> None:
    there = folder / ("photos.zarr" if out == "photos.zarr" else "maps/v_classes.ome.tif")
    there.mkdir(parents=True)
    (there / "me.png").write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists already"):
        predict(folder, out)
    with pytest.raises(OutputError, match=r"is no Zarr|is a folder"):
        predict(folder, out, force=True)
    assert (there / "me.png").exists()


def test_an_input_is_not_replaced_by_its_own_map(folder: Path) -> None:
    predict(folder, "raw.ome.zarr", wanted=LABELS)
    before = content(folder / "raw.ome.zarr")
    (folder / "link.ome.zarr").symlink_to("raw.ome.zarr")
    for image, out in [
        ("raw.ome.zarr", "raw.ome.zarr"), ("link.ome.zarr", "raw.ome.zarr"), ("raw.ome.zarr", "link.ome.zarr"),
        ("raw.ome.zarr", "raw.ome.zarr/labels/mine.zarr"), ("raw.ome.zarr/labels/classes/0", "raw.ome.zarr"),
    ]:  # fmt: skip
        with pytest.raises(OutputError, match="an input of this command"):
            predict(folder, out, image=image, force=True)
    assert content(folder / "raw.ome.zarr") == before


def test_a_folder_of_planes_gets_no_maps_in_it(folder: Path) -> None:
    (folder / "planes").mkdir()
    for z, plane in enumerate(PIXELS):
        tifffile.imwrite(folder / "planes" / f"{z}.tif", plane, photometric="minisblack")
    with pytest.raises(OutputError, match=r"lies in .*planes, an input"):
        predict(folder, "planes", image="planes")
    assert names(folder / "planes") == ["0.tif", "1.tif", "2.tif"]


@pytest.mark.parametrize("there", [True, False])
def test_an_out_that_is_a_link_is_followed_and_stays_one(folder: Path, there: bool) -> None:
    (folder / "disk").mkdir()
    if there:
        predict(folder, "disk/real.ome.zarr", wanted=LABELS, computing=Computing(tile=64))
    (folder / "out.ome.zarr").symlink_to(folder / "disk" / "real.ome.zarr")
    (folder / "maps").symlink_to("disk")
    predict(folder, wanted=LABELS, force=there)
    predict(folder, "maps", wanted=LABELS)
    assert (folder / "out.ome.zarr").is_symlink()
    assert (folder / "maps").is_symlink()
    assert names(folder / "disk") == ["real.ome.zarr", "v_classes.ome.tif"]
    np.testing.assert_array_equal(
        array(folder / "disk" / "real.ome.zarr", "labels/classes/0"),
        tifffile.imread(folder / "maps" / "v_classes.ome.tif").squeeze(),
    )


# --------------------------------------------------------------------------------------------------------- leftovers


def start(folder: Path, out: str, options: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    command = ["predict", folder / "model.pt", folder / "v.ome.tif", "--out", folder / out, "--tile", "8", *options]
    # A shell may have started the tests with signals ignored, in the background or by nohup.
    code = (
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\nfrom eseg_zoo.cli import main\nmain()"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, command), "--device", "cpu"], stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGHUP", "SIGINT"])
def test_after_a_signal_the_same_command_goes_on_and_leaves_nothing(folder: Path, name: str) -> None:
    expected = content(predict(folder, "whole.ome.zarr", wanted=LABELS, computing=Computing(tile=8)))
    process = start(folder, "out.ome.zarr")
    wait_for(folder / "out.ome.zarr.partial/labels/classes/0/0/1/1")
    process.send_signal(getattr(signal, name))
    _, said = process.communicate()
    assert process.returncode != 0
    assert b"Traceback" not in said
    locked = (folder / ".out.ome.zarr.lock").exists()
    assert locked == (name == "SIGKILL")
    again = start(folder, "out.ome.zarr")
    _, said = again.communicate()
    assert again.returncode == 0, said
    assert content(folder / "out.ome.zarr") == expected
    assert names(folder) == ["model.pt", "out.ome.zarr", "v.ome.tif", "whole.ome.zarr"]


@pytest.mark.slow
def test_of_two_commands_at_once_one_says_so_and_the_result_is_whole(folder: Path) -> None:
    expected = content(predict(folder, "whole.ome.zarr", wanted=LABELS, computing=Computing(tile=8)))
    processes = [start(folder, "out.ome.zarr", options) for options in ((), ("--force",))]
    said = [process.communicate()[1].decode() for process in processes]
    codes = [process.returncode for process in processes]
    assert sorted(codes) == [0, 1]
    (refused,) = (text.splitlines()[-1] for text, code in zip(said, codes, strict=True) if code)
    assert refused.startswith("error: ")
    assert "written by another command" in refused
    assert content(folder / "out.ome.zarr") == expected


def test_what_replacing_left_when_it_was_killed_is_cleared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predict(folder, wanted=LABELS)
    from eseg_zoo.hidden import machine

    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    # Killed between the two renames: the old result is hidden, the new one has no name yet.
    (folder / "out.ome.zarr").rename(folder / f".eseg-{machine()}-{gone.pid}-0123abcd.out.ome.zarr.replaced")
    predict(folder, wanted=LABELS)
    assert names(folder) == ["model.pt", "out.ome.zarr", "v.ome.tif"]
    assert not (folder / "out.ome.zarr" / MARK).exists()


def test_a_result_that_cannot_be_renamed_leaves_the_old_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(predict(folder, wanted=LABELS))
    real = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name == "out.ome.zarr.partial":
            raise OSError(5, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OutputError, match="Input/output error"):
        predict(folder, wanted=LABELS, force=True)
    assert content(folder / "out.ome.zarr") == before


# -------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("name", ["a" * 247 + ".ome.tif", "é" * 120 + ".tif", "\udcff\udcfe.tif"])
@pytest.mark.parametrize("out", ["maps", "out.ome.zarr"])
def test_names_that_a_disk_takes_are_predicted(folder: Path, name: str, out: str) -> None:
    (folder / "v.ome.tif").rename(folder / name)
    predict(folder, out, image=name, wanted=LABELS)
    (found,) = [path for path in folder.rglob("*") if path.name == out or path.name.endswith("_classes.ome.tif")][-1:]
    assert found.exists()


def test_a_name_that_is_too_long_is_one_line(folder: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written: File name too long"):
        predict(folder, "a" * 260 + ".ome.zarr")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter any folder")
def test_a_folder_without_the_right_to_enter_is_one_line(folder: Path) -> None:
    (folder / "closed").mkdir()
    (folder / "closed").chmod(0o600)
    with pytest.raises(OutputError, match=r"Permission denied|cannot be written"):
        predict(folder, "closed/out.ome.zarr")
