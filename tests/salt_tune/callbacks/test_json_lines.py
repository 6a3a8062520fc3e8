"""A search as JSON, one object a line."""

import json
from pathlib import Path

import pytest

from analysis.run_directory.events import JobStarted, Trials
from analysis.run_directory.paths import RunDirectory
from salt_tune.callbacks.json_lines import JsonLines
from tests.salt_tune.made_trials import add_report, add_trial, make_report, make_space


def test_what_happens_is_a_line_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space, trials = make_space(), Trials(4)
    callback = JsonLines(RunDirectory(tmp_path / "r\x1b[1m"), space)
    callback.on_search_start(trials)
    trial = add_trial(trials, "T0", space)
    trials.apply(JobStarted("T0", 0.0, 3.0, "a test"))
    callback.on_trial_start(trial)
    report = make_report(3.0, float("nan"), status="diverged", time="2026-12-01T10:00:00+00:00")
    callback.on_trial_result(add_report(trials, "T0", report, space), report)
    callback.on_trial_pause(trial)
    callback.on_trial_restart(trial, "lost")
    callback.on_trial_end(trial)
    callback.on_search_end(trials, over=False)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == [
        "search_start", "trial_start", "trial_result", "trial_pause", "trial_restart", "trial_end", "search_end",
    ]  # fmt: skip
    assert all(line["time"].endswith("+00:00") for line in lines)
    assert lines[1]["parameters"] == {"lr": 1e-3} and lines[1]["milestone"] == 3.0
    assert (lines[2]["val_loss"], lines[2]["reported"]) == (None, "2026-12-01T10:00:00+00:00")
    assert (lines[4]["why"], lines[5]["state"], lines[6]["over"]) == ("lost", "diverged", False)
