from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from eseg_zoo import machine


@pytest.fixture(autouse=True)
def linux(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A Linux machine without a GPU, and the folder in which the driver would list its cards."""
    monkeypatch.setattr(machine.sys, "platform", "linux")  # type: ignore[attr-defined]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(machine, "_NVIDIA", tmp_path / "gpus")
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)  # type: ignore[attr-defined]
    return tmp_path / "gpus"


def test_a_card_that_the_driver_lists_is_a_gpu_unless_it_is_hidden(
    linux: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not machine.has_gpu()
    linux.mkdir()
    assert not machine.has_gpu()
    (linux / "0000:01:00.0").mkdir()
    assert machine.has_gpu()
    for hidden in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        assert not machine.has_gpu()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert machine.has_gpu()


@pytest.mark.parametrize(
    ("code", "said", "found"),
    [(0, "GPU 0: H100\n", True), (9, "NVIDIA-SMI has failed\n", False), (0, "No devices found\n", False)],
)
def test_where_the_driver_lists_nothing_its_program_is_asked(
    monkeypatch: pytest.MonkeyPatch, code: int, said: str, found: bool
) -> None:
    monkeypatch.setattr(machine.shutil, "which", lambda name: "nvidia-smi")  # type: ignore[attr-defined]
    answer = SimpleNamespace(returncode=code, stdout=said)
    monkeypatch.setattr(machine.subprocess, "run", lambda *_, **__: answer)  # type: ignore[attr-defined]
    assert machine.has_gpu() is found


def test_a_program_that_hangs_means_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("nvidia-smi", 10)

    monkeypatch.setattr(machine.shutil, "which", lambda name: "nvidia-smi")  # type: ignore[attr-defined]
    monkeypatch.setattr(machine.subprocess, "run", hang)  # type: ignore[attr-defined]
    assert not machine.has_gpu()


@pytest.mark.parametrize(("processor", "found"), [("arm64", True), ("x86_64", False)])
def test_an_apple_computer_has_one_with_its_own_processor(
    monkeypatch: pytest.MonkeyPatch, processor: str, found: bool
) -> None:
    monkeypatch.setattr(machine.sys, "platform", "darwin")  # type: ignore[attr-defined]
    monkeypatch.setattr(machine.platform, "machine", lambda: processor)  # type: ignore[attr-defined]
    assert machine.has_gpu() is found


def test_the_rate_is_that_of_the_fastest_product(monkeypatch: pytest.MonkeyPatch) -> None:
    durations, now = iter([0.04, 0.02, 0.5]), 0.0

    def matmul(one: object, other: object, *, out: object) -> None:
        nonlocal now
        now += next(durations)

    monkeypatch.setattr(machine.np, "matmul", matmul)  # type: ignore[attr-defined]
    assert machine.multiply_adds_per_second(lambda: now) == pytest.approx(1024**3 / 0.02)
