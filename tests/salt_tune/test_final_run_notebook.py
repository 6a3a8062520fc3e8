"""The notebook of a final run, on a promoted trial."""

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.notebooks import execute, pictures, text
from tests.salt_tune.conftest import Ended


@pytest.mark.slow
def test_a_final_run_is_looked_at(promoted: Ended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALT_TUNE_RUN", str(promoted.path.parents[1]))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    outputs = execute("final_run", tmp_path)
    assert pictures(outputs) >= 1 and promoted.path.name in text(outputs)
