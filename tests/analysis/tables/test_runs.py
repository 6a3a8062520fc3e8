"""Several runs are loaded as one."""

from pathlib import Path

import pytest

from analysis import load
from tests.analysis.fake_run import CLIPS, write_run
from tests.analysis.made_search import spread, write_search


def test_tables_of_several_runs_have_the_run_in_front(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / "a").path, write_search(tmp_path / "b", spread(3), lambda values: values["lr"]).path]
    runs = load(paths)
    assert list(runs) == ["a", "b"] and runs["a"].best == "T2"
    assert runs.trials.columns[0] == "run" and runs.trials["run"].value_counts().to_dict() == {"a": 12, "b": 3}
    assert set(runs.reports["run"]) == {"a", "b"} and set(runs.final["run"]) == {"a"}
    assert str(runs.trials["rank"].dtype) == "Int64" and runs.decisions.empty
    assert len(runs.clip_losses(resource=1.0)) % len(CLIPS) == 0


def test_equal_names_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / folder / "run").path for folder in ("a", "b")]
    assert list(load(paths)) == [str(path) for path in paths]
    assert list(load(tuple(map(str, paths[:1])))) == ["run"]
    with pytest.raises(ValueError, match="no run was given"):
        load([])
