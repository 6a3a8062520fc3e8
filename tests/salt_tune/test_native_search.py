"""Real searches with each of Ray's own schedulers; one is resumed and goes on."""

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from analysis.run_directory.paths import RunDirectory, read_summary
from tests.conftest import complaints, start_command
from tests.salt_tune.conftest import MINUTES, search
from tests.toy_task import SPACE


def decisions(run: RunDirectory) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.decisions.read_text(encoding="utf-8").splitlines()]


@pytest.mark.slow  # what each decides is compared with recordings in test_native_schedulers.py
@pytest.mark.parametrize("scheduler", ["hyperband", "asha_stop", "median"])
def test_a_search_ends(tmp_path: Path, scheduler: str) -> None:
    schedule = {"scheduler": scheduler, "epochs": 3, "first_rung": 1, "reports": 3}
    space = {**SPACE, "schedule": schedule, "trials": 4}
    (tmp_path / "native.yaml").write_text(yaml.safe_dump(space), encoding="utf-8")
    words = ("--space", tmp_path / "native.yaml", "--store", tmp_path, "--concurrent", 1)
    ended = search(tmp_path, *words, name="run")
    assert (ended.exit_code, complaints(ended.errors)) == (0, ""), ended.output
    if more := int(scheduler == "hyperband"):
        again = start_command(tmp_path, "search", "--resume", ended.path, "--extend", more)
        output, errors = again.communicate(timeout=MINUTES)
        assert (again.returncode, complaints(errors)) == (0, ""), output

    run = RunDirectory(ended.path)
    states = Counter(trial["state"] for trial in read_summary(run)["trials"])
    assert states["complete"] >= 1 and states.keys() <= {"complete", "pruned"} and states.total() == 4 + more
    told = decisions(run)
    jobs = [(entry["trial"], entry["milestone"]) for entry in told if entry["event"] == "run"]
    results = [(entry["trial"], entry["resource"]) for entry in told if entry["event"] == "result"]
    assert sorted(jobs) == sorted(results), "each job is a report long"
    for trial in {name for name, _ in jobs}:
        assert all(
            later == earlier + 1 for earlier, later in itertools.pairwise(to for name, to in jobs if name == trial)
        )
    stopped = {entry["trial"] for entry in told if entry["event"] == "drop"}
    assert len(stopped) == states["pruned"]
