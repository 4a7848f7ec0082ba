"""Too little memory and pixels that are too large: one line with the way out, never a map of NaN."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from eseg_zoo import console
from eseg_zoo.api import Model
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.errors import InputError, TooLittleMemoryError
from eseg_zoo.inference.network import Predictor
from eseg_zoo.inference.predict import Computing
from inference.predictions import PIXELS, predict, write_inputs


@pytest.fixture
def folder(tmp_path: Path, checkpoint: Checkpoint) -> Path:
    write_inputs(tmp_path, checkpoint)
    return tmp_path


def too_large() -> MemoryError:
    """What NumPy raises for an array that no memory holds."""
    with pytest.raises(MemoryError) as caught:
        np.zeros((1 << 40, 1 << 20), np.uint8)
    return caught.value


SHORT = [
    MemoryError(),
    too_large(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 99 bytes."),
    RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nMore lines"),
]


@pytest.mark.parametrize("error", SHORT, ids=lambda one: f"{type(one).__name__} {str(one)[-30:]}")
def test_too_little_memory_is_one_line_with_the_way_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, checkpoint: Checkpoint
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Predictor, "_run", fail)
    with pytest.raises(TooLittleMemoryError, match=r"^the memory is too small \(.*\); give a smaller --tile.*is kept$"):
        predict(folder)
    labels = np.zeros(PIXELS.shape, np.uint8)
    labels[0, 9, 9] = 1
    with pytest.raises(TooLittleMemoryError, match="give a smaller --tile"):
        Model(checkpoint).evaluate(PIXELS, labels, axes="zyx")


def test_another_error_of_torch_is_no_lack_of_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("shape '[3]' is invalid")

    monkeypatch.setattr(Predictor, "_run", fail)
    with pytest.raises(RuntimeError, match="is invalid"):
        predict(folder)


def test_too_little_memory_anywhere_ends_a_command_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def app() -> None:
        raise MemoryError

    with pytest.raises(SystemExit) as caught:
        console.run_app(app)
    assert caught.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: the memory is too small")


def test_pixels_that_do_not_fit_the_memory_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr("eseg_zoo.images.image._opened", fail)
    with pytest.raises(TooLittleMemoryError, match=r"v\.ome\.tif cannot be read at .*: Unable to allocate 9 TiB"):
        predict(folder)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1e300, r"has a pixel of 1e\+300, beyond float32, at t=0, z=1, y=40, x=7$"),
        (-1e39, r"has a pixel of -1e\+39, beyond float32, at t=0, z=1, y=40, x=7$"),
        (np.nan, r"has NaN or infinite pixels, the first at t=0, z=1, y=40, x=7$"),
    ],
)
def test_pixels_that_are_too_large_are_one_line_and_make_no_map(folder: Path, value: float, words: str) -> None:
    pixels = PIXELS.astype(np.float64)
    pixels[1, 40, 7] = value
    np.save(folder / "v.npy", pixels)
    with pytest.raises(InputError, match=words):
        predict(folder, image="v.npy", computing=Computing(tile=32))
    assert not (folder / "out.ome.zarr").exists()


def test_pixels_that_make_no_probabilities_are_named_everywhere(
    folder: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(self: Predictor, padded: np.ndarray, output: object) -> np.ndarray:
        return np.full((6, *(n - 2 * 52 for n in padded.shape[1:])), np.nan, np.float32)

    monkeypatch.setattr(Predictor, "_run", run)
    labels = np.zeros(PIXELS.shape, np.uint8)
    labels[1, 40, 7] = 1
    for call in (
        lambda: Model(checkpoint).evaluate(PIXELS, labels, axes="zyx"),
        lambda: Model(checkpoint).predict(PIXELS, axes="zyx"),
        lambda: predict(folder),
    ):
        with pytest.raises(InputError, match=r"has pixels from \d+ to 254, of which .* no probabilities, in"):
            call()
    assert not (folder / "out.ome.zarr").exists()


def test_a_model_that_is_quite_sure_is_evaluated_and_written_whole(folder: Path, checkpoint: Checkpoint) -> None:
    pixels = PIXELS.astype(np.float32)
    pixels[1] *= 1e35  # probabilities of 0 and 1 alone: chunks of zeros, and an uncertainty of -0.0
    labels = np.ones(PIXELS.shape, np.uint8)
    assert Model(checkpoint).evaluate(pixels, labels, axes="zyx").confusion.pixels.sum() == PIXELS.size
    np.save(folder / "v.npy", pixels)
    from eseg_zoo.images.opening import open_image

    open_image(predict(folder, image="v.npy") / "0").read()


_FILL = """
import resource, sys
from pathlib import Path
import numpy as np
from eseg_zoo.allocator import keep_freed_memory
from eseg_zoo.images.image import Spacing
from eseg_zoo.images.ome_tiff_writer import OmeTiffWriter
from eseg_zoo.images.pyramid import Pyramid
from eseg_zoo.images.writers import Described
keep_freed_memory()
grid = Pyramid.single("yx", (int(sys.argv[2]),) * 2, (1024, 1024), (Spacing(),) * 2)
targets = {kind: Path(sys.argv[1]) / f"{kind}.ome.tif" for kind in ("classes", "uncertainty")}
writer = OmeTiffWriter(targets, grid, Described(((1, "a"), (2, "b")), ("uncertainty",)), True)
writer.begin({}, force=True)
rng = np.random.default_rng(0)
labels, maps = rng.integers(1, 3, (1024, 1024)).astype(np.uint8), rng.random((1, 1024, 1024)).astype(np.float32)
for index in grid.indices(0):
    inside = tuple(slice(0, part.stop - part.start) for part in grid.region(0, index))
    writer.write(0, index, labels[inside], maps[(slice(None), *inside)])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
writer.finish()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_writing_a_tiff_takes_no_more_memory_for_a_larger_plane(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _FILL, str(tmp_path), "6000"], capture_output=True, check=True)
    assert int(done.stdout) < 400_000  # kB; the plane of floats is 144,000, and all of it took 30 bytes a pixel
