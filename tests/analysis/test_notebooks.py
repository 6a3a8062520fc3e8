"""Notebooks run from top to bottom on real searches and stores, and are shipped with what they gave."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from analysis import load
from tests.conftest import ROOT
from tests.notebooks import FOLDER, execute, pictures, text

NAMES = ("compare_searches", "final_run", "search_review", "store_tour")


@pytest.fixture(autouse=True)
def _our_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_a_search_is_reviewed(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALT_TUNE_RUN", str(finished_run))
    outputs = execute("search_review", tmp_path)
    assert pictures(outputs) >= 8
    assert str(load(finished_run).best) in text(outputs) and "trainings:" in text(outputs)


@pytest.mark.slow
def test_searches_are_compared(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = shutil.copytree(finished_run, tmp_path / "other")
    monkeypatch.setenv("SALT_TUNE_RUNS", os.pathsep.join(map(str, (finished_run, other))))
    outputs = execute("compare_searches", tmp_path)
    assert pictures(outputs) == 2 and "other" in text(outputs)


@pytest.mark.slow
def test_a_store_is_toured(store_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALT_TUNE_STORE", str(store_path))
    outputs = execute("store_tour", tmp_path)
    assert pictures(outputs) == 2 and "hold 90% of the variance" in text(outputs)


def test_all_notebooks_are_known() -> None:
    assert tuple(sorted(path.stem for path in FOLDER.glob("*.ipynb"))) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_shipped_with_its_outputs(name: str) -> None:
    content = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    cells = [cell for cell in json.loads(content)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert outputs and not any(output["output_type"] == "error" or output.get("name") == "stderr" for output in outputs)
    assert not re.search(r"/(home|root|tmp|work)/", content), "names a path of the machine that it was made on"
