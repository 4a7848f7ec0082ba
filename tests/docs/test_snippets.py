"""Every command and snippet of the pages runs, in order, as it is written, or says why not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from docs.inputs import write_given
from docs.pages import PAGES, SETTINGS, Block, blocks_of, given_of, name_of
from docs.running import check_settings, run_block
from eseg_zoo.errors import ConfigError

WITH_BLOCKS = [page for page in PAGES if any(block.kind in {"run", "settings"} for block in blocks_of(page))]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the commands of the pages are for bash")
@pytest.mark.parametrize("page", WITH_BLOCKS, ids=name_of)
def test_the_blocks_of_a_page_run_in_order_as_they_are_written(page: Path, reader: Path) -> None:
    for name in given_of(page):
        write_given(reader, name)
    for block in blocks_of(page):
        run_block(block, reader)


def test_every_block_runs_or_says_why_not() -> None:
    unknown = [block.place for page in PAGES for block in blocks_of(page) if block.kind == "unknown"]
    assert unknown == [], (
        "give the block a language that runs, `text` for output, or <!-- not run: REASON --> before it"
    )


def test_the_reasons_say_something() -> None:
    marked = [block for page in PAGES for block in blocks_of(page) if block.kind == "marked"]
    assert [block.place for block in marked if len(block.reason.split()) < 3] == []


def test_blocks_are_found_with_their_language_title_and_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("docs.pages.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        '```yaml title="run.yaml"\na: 1\n```\n<!-- not run: it needs a cluster -->\n\n'
        "    ```bash\n    sbatch a.sh\n    ```\n<!-- given: run.yaml model.pt -->\n```\nls\n```\n",
        encoding="utf-8",
    )
    assert blocks_of(page) == [
        Block("page.md", 1, "yaml", "run.yaml", "a: 1\n", ""),
        Block("page.md", 6, "bash", "", "sbatch a.sh\n", "it needs a cluster"),
        Block("page.md", 10, "", "", "ls\n", ""),
    ]
    assert given_of(page) == ["run.yaml", "model.pt"]
    assert [block.kind for block in blocks_of(page)] == ["file", "marked", "unknown"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [("eseg train run.yaml\n", "unknown"), ("$ make demo\n", "unknown"), ("pip install .\n", "unknown"),
     ("eseg train [OPTIONS] RUN\n", "shown"), ("raw.tif: 14 slices, made of planes\n", "shown")],
)  # fmt: skip
def test_a_command_is_no_output(text: str, kind: str) -> None:
    assert Block("page.md", 1, "text", "", text, "").kind == kind


@pytest.mark.skipif(sys.platform == "win32", reason="the commands of the pages are for bash")
@pytest.mark.parametrize("text", ["exit 3\n", "false | true\n", "eseg settings training.stepz\n"])
def test_a_block_that_fails_is_told_with_its_place(text: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"page\.md:7 ended with"):
        run_block(Block("page.md", 7, "bash", "", text, ""), tmp_path)


def test_settings_that_are_wrong_are_refused(tmp_path: Path) -> None:
    check_settings(Block("page.md", 1, SETTINGS, "", "network: {dims: 3}\n", ""), tmp_path)
    with pytest.raises(ConfigError, match="dimz"):
        check_settings(Block("page.md", 1, SETTINGS, "", "network: {dimz: 3}\n", ""), tmp_path)
