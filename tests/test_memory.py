"""How much memory is free: what the system says, and no more than a container may have."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from eseg_zoo import memory


@pytest.mark.parametrize(
    ("limit", "free"), [(None, 5000), ("max\n", 5000), ("2048\n", 2048), ("9000\n", 5000)], ids=str
)
def test_free_memory_is_what_the_system_and_the_container_leave(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: str | None, free: int
) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=5000))
    monkeypatch.setattr(memory, "_CONTAINER_LIMIT", tmp_path / "memory.max")
    if limit is not None:
        (tmp_path / "memory.max").write_text(limit)
    assert memory.free_memory() == free
