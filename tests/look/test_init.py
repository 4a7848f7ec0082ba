"""`eseg init` tells images from labels by what they hold, and writes a run that works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import yaml
from numpy.typing import NDArray
from typer.testing import CliRunner

from eseg_zoo.cli import app
from eseg_zoo.config import Run, load_run
from eseg_zoo.errors import InputError, OutputError
from eseg_zoo.look import init as init_module
from eseg_zoo.look.check import check_run
from eseg_zoo.look.given import sort_files
from eseg_zoo.look.init import write_run

SHAPE = (2, 60, 70)


@pytest.fixture(autouse=True)
def machine_without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init_module, "has_gpu", lambda: False)


def grey(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(20, 220, shape or SHAPE, dtype=np.uint8)


def strokes(*shape: int, values: tuple[int, ...] = (1, 3)) -> NDArray[np.uint8]:
    labels = np.zeros(shape or SHAPE, np.uint8)
    for number, value in enumerate(values):
        labels[..., 4::12, 10 * number + 2 : 10 * number + 8] = value
    return labels


def write(path: Path, pixels: NDArray[Any], axes: str | None = "ZYX", **more: Any) -> Path:
    metadata = {"axes": axes, **more} if axes else None
    tifffile.imwrite(path, pixels, metadata=metadata, photometric="minisblack", ome=path.name.endswith(".ome.tif"))
    return path


def written(folder: Path, *files: Path, labels: tuple[Path, ...] = ()) -> tuple[Run, str]:
    """The run that is written for these files, and its text."""
    out = folder / "run.yaml"
    write_run(files, labels, out)
    return load_run(out), out.read_text(encoding="utf-8")


def named(run: Run) -> tuple[list[str], list[list[str]]]:
    return [path.name for path in run.images], [[one.file.name for one in entry] for entry in run.labels]


@pytest.mark.parametrize("reverse", [False, True])
def test_an_image_and_its_labels_are_found_in_either_order_and_can_be_trained_on(tmp_path: Path, reverse: bool) -> None:
    files = [write(tmp_path / "a.tif", strokes()), write(tmp_path / "b.tif", grey())]
    run, text = written(tmp_path, *(files[::-1] if reverse else files))
    assert named(run) == (["b.tif"], [["a.tif"]])
    assert run.classes == {1: "class 1", 3: "class 3"}
    assert (run.preset, run.axes, run.out) == ("small", None, tmp_path / "runs/b")
    assert "give the classes their names" in text
    assert "# axes: zyx  # as the files state" in text
    assert check_run(run).summary.strokes == {"class 1": 10, "class 3": 10}


def test_paths_are_seen_from_the_folder_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    files = write(tmp_path / "data/raw.tif", grey()), write(tmp_path / "data/painted.tif", strokes())
    monkeypatch.chdir(tmp_path / "data")
    write_run([Path("raw.tif"), files[1]], [], Path("../runs here/run.yaml"))
    values = yaml.safe_load((tmp_path / "runs here/run.yaml").read_text(encoding="utf-8"))
    assert (values["images"], values["labels"]) == ("../data/raw.tif", "../data/painted.tif")
    assert load_run(tmp_path / "runs here/run.yaml").images[0].resolve() == files[0]


def test_several_images_get_the_labels_of_their_size_and_name(tmp_path: Path) -> None:
    images = [write(tmp_path / f"rat{n}_data.tif", grey(40 + 2 * (n > 1), 50, seed=n), "YX") for n in (1, 2, 3)]
    labels = [write(tmp_path / f"rat{n}_painted.tif", strokes(40 + 2 * (n > 1), 50), "YX") for n in (3, 1, 2)]
    run, text = written(tmp_path, *images, *labels)
    expected = [f"rat{n}_data.tif" for n in (1, 2, 3)], [[f"rat{n}_painted.tif"] for n in (1, 2, 3)]
    assert named(run) == expected
    assert "images:\n  - rat1_data.tif\n" in text
    with pytest.raises(InputError, match=r"there are 3 images \(.*\) but 2 label files \(.*\); give one for each"):
        sort_files([*images, *labels[:2]])


def test_one_image_may_have_several_label_files(tmp_path: Path) -> None:
    image = write(tmp_path / "raw.tif", grey())
    labels = [write(tmp_path / f"{n}.tif", strokes(values=(n, n + 1))) for n in (2, 1)]
    run, _ = written(tmp_path, image, *labels)
    assert named(run) == (["raw.tif"], [["2.tif", "1.tif"]])
    assert list(run.classes) == [1, 2, 3]


def test_an_image_of_few_values_is_labels_only_beside_another_or_by_force(tmp_path: Path) -> None:
    binary = write(tmp_path / "binary.tif", strokes())
    assert [one.path for one in sort_files([binary]).images] == [binary]
    other = write(tmp_path / "other.tif", strokes(2, 30, 30))
    assert len(sort_files([binary, other]).images) == 2, "they have two sizes"
    found = sort_files([binary], [write(tmp_path / "labels.tif", strokes())])
    assert [[one.path.name for one in entry] for entry in found.labels] == [["labels.tif"]]
    with pytest.raises(InputError, match=r"grey\.tif is no label image: it has several channels, fractions, or more"):
        sort_files([binary], [write(tmp_path / "grey.tif", grey())])


def test_without_labels_the_run_says_where_they_will_be(tmp_path: Path) -> None:
    run, text = written(tmp_path, write(tmp_path / "raw.ome.tif", grey()))
    assert named(run) == (["raw.ome.tif"], [["raw_labels.tif"]])
    assert "# Paint a few strokes of each class" in text


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    files = write(tmp_path / "raw.tif", grey()), write(tmp_path / "labels.tif", strokes(values=(2,)))
    with pytest.raises(
        InputError, match=r"labels\.tif: one class is labelled; a model tells at least two classes apart"
    ):
        write_run(files, [], tmp_path / "run.yaml")
    assert not (tmp_path / "run.yaml").exists()


def test_axes_that_no_file_states_are_a_guess_that_is_written_down(tmp_path: Path) -> None:
    np.save(tmp_path / "raw.npy", grey(3, 2, 50, 60))
    np.save(tmp_path / "labels.npy", strokes(3, 50, 60))
    run, text = written(tmp_path, tmp_path / "raw.npy", tmp_path / "labels.npy")
    assert run.axes == "zcyx"
    assert "axes: zcyx  # a guess, as the files do not say" in text
    assert check_run(run).summary.pixels == {"class 1": 72, "class 3": 72}


def test_colours_are_channels_where_the_axes_say_so(tmp_path: Path) -> None:
    colours = tmp_path / "slide.tif"
    tifffile.imwrite(colours, grey(60, 70, 3), photometric="rgb")
    drawn = write(tmp_path / "strokes.tif", strokes(60, 70), axes=None)
    out = tmp_path / "run.yaml"
    with pytest.raises(InputError, match="no axes are given"):
        write_run([colours, drawn], [], out)
    with pytest.raises(InputError, match="axes 'zyx' has no c at their position"):
        write_run([colours, drawn], [], out, axes="zyx")
    with pytest.raises(InputError, match="must be made of the letters"):
        write_run([colours, drawn], [], out, axes="yxq")
    assert not out.exists()
    result = CliRunner().invoke(app, ["init", str(colours), str(drawn), "--out", str(out), "--axes", "YXC"])
    assert result.exit_code == 0
    run = load_run(out)
    assert named(run) == (["slide.tif"], [["strokes.tif"]])
    assert run.axes == "yxc"
    assert check_run(run).data.images[0].sizes["c"] == 3


def test_axes_that_are_given_are_those_of_the_run_whatever_the_file_states(tmp_path: Path) -> None:
    stack = write(tmp_path / "raw.tif", grey(), axes="TYX")  # as ImageJ writes it
    out = tmp_path / "run.yaml"
    write_run([stack, write(tmp_path / "strokes.tif", strokes(), axes=None)], [], out, axes="zyx")
    assert load_run(out).axes == "zyx"
    with pytest.raises(InputError, match="says that its axes are TYX"):
        write_run([stack], [], tmp_path / "other.yaml", axes="cyx")


def test_a_voxel_size_that_a_file_states_is_shown(tmp_path: Path) -> None:
    size: dict[str, Any] = {"PhysicalSizeX": 0.2, "PhysicalSizeY": 0.2, "PhysicalSizeZ": 0.5}
    _, text = written(tmp_path, write(tmp_path / "raw.ome.tif", grey(), **size))
    assert "# voxel_size: {z: 0.5, y: 0.2, x: 0.2}  # micrometres, as the files state: 0.5 x 0.2 x 0.2 µm" in text
    _, text = written_anew(tmp_path, write(tmp_path / "plain.tif", grey()))
    assert "the files do not state it, 3D needs it" in text


def written_anew(folder: Path, *files: Path) -> tuple[Run, str]:
    (folder / "run.yaml").unlink()
    return written(folder, *files)


def test_the_preset_is_that_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init_module, "has_gpu", lambda: True)
    run, text = written(tmp_path, write(tmp_path / "raw.tif", grey()))
    assert run.preset == "default"
    assert "preset: default  # for a GPU" in text


def test_the_template_is_guessed_from_the_background_and_the_channels(tmp_path: Path) -> None:
    dark = np.random.default_rng(0).gamma(0.5, 20, SHAPE).clip(0, 255).astype(np.uint8)
    for pixels, axes, template in (
        (grey(), "ZYX", "em2d (a guess, as its background is not dark)"),
        (dark, "ZYX", "fluorescence2d (a guess, as its background is dark)"),
        (grey(2, 3, 60, 70), "ZCYX", "fluorescence2d (a guess, as it has 3 channels)"),
    ):
        (tmp_path / "run.yaml").unlink(missing_ok=True)
        _, text = written(tmp_path, write(tmp_path / "raw.ome.tif", pixels, axes))
        assert text.endswith(f"eseg export --template {template}\n")


def test_a_file_that_exists_is_named_and_stays(tmp_path: Path) -> None:
    out = tmp_path / "run.yaml"
    out.write_text("precious", encoding="utf-8")
    with pytest.raises(
        OutputError, match=r"run\.yaml exists already, and is not replaced; give another name with --out"
    ):
        write_run([write(tmp_path / "raw.tif", grey())], [], out)
    assert out.read_text(encoding="utf-8") == "precious"


def test_names_that_yaml_would_read_as_something_else_are_quoted(tmp_path: Path) -> None:
    image = write(tmp_path / "yes: #1 'raw'.tif", grey())
    run, _ = written(tmp_path, image, write(tmp_path / "1.5", strokes()))
    assert named(run) == ([image.name], [["1.5"]])


def test_the_command_ends_with_the_next_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = [str(write(tmp_path / name, pixels)) for name, pixels in (("raw.tif", grey()), ("painted.tif", strokes()))]
    done = CliRunner().invoke(app, ["init", *files], catch_exceptions=False)
    assert done.stdout.splitlines()[0] == "run.yaml"
    assert done.stderr.split("\n")[-3:-1] == ["  eseg check run.yaml", "  eseg train run.yaml"]


# -------------------------------------------------------------------------------------------- files that name classes


def write_project(path: Path, image: str) -> Path:
    """A project of ilastik with one lane, strokes of two classes on its first slice, names and colours."""
    with h5py.File(path, "w") as file:
        file["ilastikVersion"] = b"1.4.0"
        file["PixelClassification/LabelNames"] = np.array([b"Membrane", b"Rest: all"])
        file["PixelClassification/LabelColors"] = np.array([[255, 0, 0], [0, 128, 255]])
        painted = np.zeros((1, 1, 20, 30, 1), np.uint8)  # t, x, y, z, c cut to what was painted
        painted = painted.reshape(1, 20, 30, 1, 1)
        painted[0, 2:8, 3::6], painted[0, 12:18, 3::6] = 1, 2
        block = file.create_dataset("PixelClassification/LabelSets/labels000/block0000", data=painted)
        block.attrs["blockSlice"] = "[0:1,5:25,4:34,0:1,0:1]"
        lane = file.create_group("Input Data/infos/lane0000/Raw Data")
        lane["filePath"], lane["nickname"] = image.encode(), b"raw"
        # ilastik adds a channel axis to images that have none
        lane["axistags"] = b'{"axes": [{"key": "z"}, {"key": "y"}, {"key": "x"}, {"key": "c"}]}'
        lane["shape"] = np.array([*SHAPE, 1])
    return path


def test_a_project_of_ilastik_alone_makes_a_complete_run(tmp_path: Path) -> None:
    write(tmp_path / "raw.tif", grey(), None)
    run, text = written(tmp_path, write_project(tmp_path / "project.ilp", "raw.tif"))
    assert named(run) == (["raw.tif"], [["project.ilp"]])
    assert run.classes == {1: "Membrane", 2: "Rest: all"}
    assert run.colours == {"Membrane": "#ff0000", "Rest: all": "#0080ff"}
    assert "# As the labels name them:" in text
    assert check_run(run).summary.strokes == {"Membrane": 5, "Rest: all": 5}


def test_a_project_whose_image_has_moved_asks_for_it(tmp_path: Path) -> None:
    project = write_project(tmp_path / "project.ilp", "gone.tif")
    with pytest.raises(
        InputError, match=r"project\.ilp: the image of lane 0 \(raw\) is not at .*gone\.tif; give it too"
    ):
        sort_files([project])
    run, _ = written(tmp_path, project, write(tmp_path / "moved.tif", grey()))
    assert named(run) == (["moved.tif"], [["project.ilp"]])


@pytest.mark.parametrize("others", [(), ("overview.tif",)])
def test_the_image_of_a_project_may_be_a_stack_of_files(tmp_path: Path, others: tuple[str, ...]) -> None:
    names = [f"stack/plane{number}.tif" for number in (9, 10)]
    (tmp_path / "stack").mkdir()
    for name in (*names, *(f"stack/{other}" for other in others)):
        write(tmp_path / name, grey(*SHAPE[1:]), None)
    run, _ = written(tmp_path, write_project(tmp_path / "project.ilp", ":".join(names)))
    assert named(run) == (["plane*.tif" if others else "stack"], [["project.ilp"]])
    assert check_run(run).summary.strokes == {"Membrane": 5, "Rest: all": 5}


def test_a_stack_that_no_pattern_tells_says_what_to_do(tmp_path: Path) -> None:
    for name in ("a1.tif", "a2.tif", "a3.tif"):
        write(tmp_path / name, grey(*SHAPE[1:]), None)
    with pytest.raises(InputError, match=r"is a stack of 2 files, from .*a1\.tif on, .* into a folder of their own"):
        sort_files([write_project(tmp_path / "project.ilp", "a1.tif:a3.tif")])


def test_points_with_a_class_are_labels(tmp_path: Path) -> None:
    table = tmp_path / "points.csv"
    rows = [f"{n % 2},{5 * n % 60},{3 * n % 70},{'cell' if n % 3 else 'ground'}" for n in range(30)]
    table.write_text("\n".join(["z,y,x,class", *rows]) + "\n", encoding="utf-8")
    run, _ = written(tmp_path, table, write(tmp_path / "raw.tif", grey()))
    assert named(run) == (["raw.tif"], [["points.csv"]])
    assert set(run.classes.values()) == {"cell", "ground"}
    assert sum(check_run(run).summary.pixels.values()) == 30


def test_files_of_nobody_are_told(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing to see here", encoding="utf-8")
    with pytest.raises(InputError, match=r"notes\.txt is a text file, not an image"):
        sort_files([tmp_path / "notes.txt"])
    with pytest.raises(InputError, match=r"raw\.tif does not exist"):
        sort_files([tmp_path / "raw.tif"])
