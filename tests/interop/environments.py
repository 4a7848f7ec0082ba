"""Where the consumers run: pythons with their own packages, made once and kept, or the reason why there is none."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements"
TIMEOUT = 600  # seconds for an installation
DEBIAN_PYTHON = Path("/usr/bin/python3")  # the one that Debian's python3-torch belongs to


@dataclass(frozen=True)
class Environment:
    """A Python that has the consumer."""

    python: Path
    version: str  # of the consumer


@dataclass(frozen=True)
class Missing:
    """A consumer that cannot be had here."""

    reason: str


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    output: str
    errors: str

    @property
    def last_line(self) -> str:
        """What it said last: for a Python program the error itself."""
        lines = [line.strip() for line in (self.errors or self.output).splitlines() if line.strip()]
        return lines[-1][-500:] if lines else f"exit code {self.code} without a word"


def run(command: Sequence[str | Path], *, seconds: float, cache: Path | None = None) -> Outcome:
    """Run a command without this process's Python path; one that takes longer than `seconds` has ended with 124."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONWARNINGS")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    environment |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "PYTHONNOUSERSITE": "1"}
    if cache:
        environment["BIOIMAGEIO_CACHE_PATH"] = str(cache)
    try:
        done = subprocess.run(
            [str(word) for word in command],
            env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Outcome(124, "", f"no answer within {seconds:g} seconds")
    except OSError as error:
        return Outcome(127, "", f"{command[0]}: {error.strerror or error}")
    return Outcome(done.returncode, done.stdout, done.stderr)


def debian_torch() -> Environment | Missing:
    """Return the system's Python with Debian's libtorch."""
    asked = run([DEBIAN_PYTHON, "-c", "import numpy, torch; print(torch.__version__)"], seconds=60)
    if asked.code:
        return Missing(f"apt-get install python3-torch is needed: {asked.last_line}")
    package = run(["dpkg-query", "-W", "-f", "${Version}", "python3-torch"], seconds=60)
    return Environment(DEBIAN_PYTHON, package.output if package.code == 0 else asked.output.strip())


def this_python(version: str) -> Environment:
    """Return the environment that this runs in."""
    return Environment(Path(sys.executable), version)


def find_python(version: str) -> Path | Missing:
    """Return a Python of that minor version, from the path or from pyenv, that runs and can make environments."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    on_path = shutil.which(f"python{version}")
    candidates = [*sorted(pyenv.glob(f"{version}.*/bin/python")), *([Path(on_path)] if on_path else [])]
    question = "import ensurepip, sys, venv; print('{}.{}'.format(*sys.version_info))"
    for candidate in candidates:
        asked = run([candidate, "-c", question], seconds=60)  # a pyenv shim may be there and refuse
        if asked.code == 0 and asked.output.strip() == version:
            return candidate
    return Missing(f"no Python {version} here, and no wheel for a later one")


def virtual_environment(
    name: str, folder: Path, version: str, *, python: Path, lend_torch: bool = False
) -> Environment | Missing:
    """Return an environment with exactly `requirements/<name>.txt`, made anew when the file changes.

    With `lend_torch` it also sees this environment's torch, and nothing else of it.
    """
    lent = _torch_folders() if lend_torch else []
    wanted = "\n".join([str(python), *map(str, lent), (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8")])
    home = (folder / name).resolve()
    ready, own = home / ".ready", home / "bin" / "python"
    if not ready.exists() or ready.read_text(encoding="utf-8") != wanted:
        shutil.rmtree(home, ignore_errors=True)
        pip: list[str | Path] = [
            own,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--retries",
            "1",
            "--no-deps",
        ]
        make: list[str | Path] = [python, "-m", "venv", home]
        for command in (make, [*pip, "--requirement", REQUIREMENTS / f"{name}.txt"]):
            done = run(command, seconds=TIMEOUT)
            if done.code:
                return Missing(f"cannot be installed: {done.last_line}")
        _link(lent, own)
        ready.write_text(wanted, encoding="utf-8")
    return Environment(own, version)


def _torch_folders() -> list[Path]:
    """Return the packages that this environment's torch consists of."""
    found = [importlib.util.find_spec(module) for module in ("torch", "torchgen", "functorch")]
    return [Path(folder) for spec in found if spec for folder in spec.submodule_search_locations or ()]


def _link(folders: Sequence[Path], python: Path) -> None:
    """Link packages into the environment of `python`: a second torch would be a download of gigabytes."""
    asked = run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], seconds=60)
    for folder in folders:
        (Path(asked.output.strip()) / folder.name).symlink_to(folder)
