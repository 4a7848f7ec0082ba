"""Makes `guides/python.ipynb` out of `guides/python_notebook.py`: runs its cells and keeps what they show.

    pip install nbclient ipykernel
    python docs/make_notebook.py

In the source `# %%` begins a cell of code, and `# %% [markdown]` one of text in comments.
"""

from __future__ import annotations

import base64
import io
import re
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

GUIDES = Path(__file__).parent / "guides"
SOURCE, NOTEBOOK = GUIDES / "python_notebook.py", GUIDES / "python.ipynb"

QUALITY = 75  # of the pictures

_CELL = re.compile(r"^# %%(?P<kind> \[markdown\])?\n", re.MULTILINE)


def cells() -> list[tuple[str, str]]:
    """Return kind (`markdown` or `code`) and text of each cell of the source."""
    pieces = _CELL.split(SOURCE.read_text(encoding="utf-8"))[1:]
    found = []
    for kind, text in zip(pieces[::2], pieces[1::2], strict=True):
        lines = text.strip("\n").splitlines()
        plain = [re.sub(r"^# ?", "", line) for line in lines] if kind else lines
        found.append(("markdown" if kind else "code", "\n".join(plain)))
    return found


def shrink(outputs: list[Any]) -> None:
    """Turn pictures into JPEGs, in place: noise takes much less room there."""
    for data in (output["data"] for output in outputs if "data" in output):
        if "image/png" in data:
            picture, file = Image.open(io.BytesIO(base64.b64decode(data.pop("image/png")))), io.BytesIO()
            picture.convert("RGB").save(file, "JPEG", quality=QUALITY, optimize=True)
            data["image/jpeg"] = base64.b64encode(file.getvalue()).decode()


def main() -> None:
    """Run the cells in a folder of their own, and write the notebook."""
    import nbformat
    from nbclient import NotebookClient

    make = {"markdown": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}
    made = [make[kind](text, id=f"cell-{number}") for number, (kind, text) in enumerate(cells(), start=1)]
    notebook = nbformat.v4.new_notebook(cells=made, metadata={"language_info": {"name": "python"}})
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": folder}})
        client.execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when each cell ran
        shrink(cell.get("outputs", []))
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
