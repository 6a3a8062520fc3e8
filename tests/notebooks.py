"""Runs a notebook from top to bottom, as its reader would."""

from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from tests.conftest import ROOT

FOLDER = ROOT / "analysis" / "notebooks"


def execute(name: str, folder: Path) -> list[Any]:
    """Executes a notebook in `folder`, and returns what its cells gave; an error of a cell is raised."""
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    settings = {"timeout": 600, "startup_timeout": 600, "resources": {"metadata": {"path": str(folder)}}}
    NotebookClient(notebook, **settings).execute()
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def pictures(outputs: list[Any]) -> int:
    """How many of the outputs are pictures."""
    kinds = {"image/svg+xml", "image/png"}
    return sum(bool(kinds & set(output.get("data", {}))) for output in outputs)


def text(outputs: list[Any]) -> str:
    """All that the outputs say."""
    said = [output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in outputs]
    return "\n".join(said)
