"""Build sdist and wheel, and try the wheel where nothing of the repository is at hand.

    python tests/release/check.py --tools .dist/tools --out dist

They are built from a copy of the files that git tracks, so nothing that lies around gets in. The wheel that the sdist
builds must be the one of the sources, file by file. It is installed with all that it asks for into a new environment
in a temporary folder; there the programs train on a tiny image and export the model. The first thing that is wrong ends
the check with a message. Needs the standard library alone.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAMS = ("eseg", "eseg-export", "eseg-demo", "eseg-upload", "eseg-napari")
# One file of each kind that is no code, with the package that must hold it.
DATA = (
    "eseg_zoo/py.typed",
    "eseg_zoo/report/page.html",
    "eseg_zoo/report/style.css",
    "eseg_export/py.typed",
    "eseg_export/rdf_templates/em2d.yaml",
    "eseg_export/rdf_templates/README.md",
    "eseg_napari/napari.yaml",
)
INPUTS = """
import numpy, tifffile
noise = numpy.random.default_rng(0)
image = noise.normal(80, 20, (2, 160, 160))
image[:, :, 80:] += 80
labels = numpy.zeros(image.shape, numpy.uint8)
for z in range(2):
    for y in range(8, 160, 24):
        labels[z, y : y + 3, 16:24], labels[z, y : y + 3, 120:128] = 1, 2
tifffile.imwrite("image.tif", image.clip(0, 255).astype(numpy.uint8), metadata={"axes": "ZYX"}, imagej=True)
tifffile.imwrite("strokes.tif", labels, metadata={"axes": "ZYX"}, imagej=True)
"""
RUN = """
images: image.tif
labels: strokes.tif
classes: {1: dark, 2: bright}
preset: small
network: {width: 8, latents: 4}
training: {steps: 20, epoch_steps: 10, batch_size: 8, accelerator: cpu}
semi_supervised: {steps: 10, labelled: 8, unlabelled: 2}
out: run
"""
FOUND = """
import importlib.metadata, importlib.resources, sys
import eseg_export, eseg_napari, eseg_zoo
homes = [module.__file__ for module in (eseg_zoo, eseg_export, eseg_napari)]
entries = importlib.metadata.entry_points(group="napari.manifest")
manifest = [entry.value for entry in entries if entry.name == "eseg_zoo"]
assert manifest == ["eseg_napari:napari.yaml"], manifest
assert importlib.resources.files("eseg_napari").joinpath("napari.yaml").is_file()
assert all(home.startswith(sys.prefix) for home in homes), homes
"""


def tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def run(command: Sequence[str | Path], folder: Path) -> str:
    """Run a command in a folder, without this process's Python path, and return what it prints.

    Ends the check where the command fails.
    """
    own = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, env=own, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout


def copied(folder: Path) -> Path:
    """Return a copy of the files that git tracks, as they are now."""
    for name in run(["git", "ls-files", "-z"], ROOT).split("\0"):
        if name and (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
    return folder


def content(wheel: Path) -> dict[str, str]:
    """Return the checksum of each file in a wheel; RECORD follows from the others."""
    with zipfile.ZipFile(wheel) as archive:
        return {
            name: hashlib.sha256(archive.read(name)).hexdigest()
            for name in archive.namelist()
            if not name.endswith("RECORD")
        }


def built(tools: Path, folder: Path, out: Path) -> Path:
    """Build sdist and wheel into `out` and return the wheel; the wheels of sdist and sources must be alike."""
    source = copied(folder / "source")
    run([tools, "-m", "build", "--outdir", out, source], folder)  # the wheel is built from the sdist
    run([tools, "-m", "build", "--wheel", "--outdir", folder / "direct", source], folder)
    (wheel,), (direct,) = out.glob("*.whl"), (folder / "direct").glob("*.whl")
    ours, theirs = content(wheel), content(direct)
    if ours != theirs:
        differing = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
        sys.exit(f"the sdist builds another wheel than the sources; they differ in {', '.join(differing)}")
    if absent := [name for name in DATA if name not in ours]:
        sys.exit(f"the wheel lacks {', '.join(absent)}")
    run([tools, "-m", "twine", "check", "--strict", wheel, *out.glob("*.tar.gz")], folder)
    return wheel


def tried(wheel: Path, folder: Path, version: str) -> None:
    """Install the wheel into a new environment and use it there."""
    run([sys.executable, "-m", "venv", folder / "fresh"], folder)
    programs = folder / "fresh" / ("Scripts" if os.name == "nt" else "bin")
    python = programs / "python"
    run([python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel], folder)
    work = folder / "work"
    work.mkdir()
    if (said := run([programs / "eseg", "--version"], work).strip()) != f"eseg_zoo {version}":
        sys.exit(f"eseg --version says {said!r}, and pyproject.toml {version}")
    for program in PROGRAMS:
        run([programs / program, "--help"], work)
    run([python, "-c", FOUND], work)
    tell("installed; training and exporting a tiny model")
    run([python, "-c", INPUTS], work)
    (work / "run.yaml").write_text(RUN, encoding="utf-8")
    run([programs / "eseg", "train", "run.yaml"], work)
    run([programs / "eseg", "export", "--ckpt", "run/model.pt", "--out", "model.zip"], work)
    for name in ("run/model.pt", "run/report.html", "model.zip"):
        if not (work / name).is_file():
            sys.exit(f"{name} was not written")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", type=Path, required=True, help="an environment with build and twine")
    parser.add_argument(
        "--out", type=Path, default=Path("dist"), help="folder of sdist and wheel; earlier ones in it are removed"
    )
    given = parser.parse_args()
    out, tools = given.out.absolute(), given.tools.absolute() / ("Scripts" if os.name == "nt" else "bin") / "python"
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    for left in (*out.glob("*.whl"), *out.glob("*.tar.gz")):
        left.unlink()
    with tempfile.TemporaryDirectory() as name:
        wheel = built(tools, Path(name), out)
        tell(f"built {wheel.name} and its sdist in {out}")
        tried(wheel, Path(name), version)
    tell(f"{wheel.name} installs, trains and exports outside the repository")


if __name__ == "__main__":
    main()
