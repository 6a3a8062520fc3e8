"""The command that is told of a search; contracts/test_callbacks.py has what all callbacks keep to."""

import json
import time
from pathlib import Path

import pytest

from analysis.run_directory.events import JobStarted, TrialEnded, Trials
from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.trials import TrialState
from salt_tune.callbacks.notify import Notify
from tests.salt_tune.made_trials import add_report, add_trial, make_report, make_space


def follow(folder: Path, command: str, patience: float = 30.0) -> None:
    """A search of four trials: the second is lost, the third is better than the first, the last is not."""
    space, trials = make_space(), Trials(4)
    callback = Notify(RunDirectory(folder), space, command, patience)
    callback.on_search_start(trials)
    for name, loss in (("T0", 0.5), ("T1", None), ("T2", 0.4), ("T3", 0.6)):
        add_trial(trials, name, space)
        trials.apply(JobStarted(name, 0.0, 3.0, "a test"))
        callback.on_trial_start(trials[name])
        if loss is None:
            trials.apply(TrialEnded(name, TrialState.FAILED, "clip 'a\x1b\n' is gone"))
        else:
            add_report(trials, name, make_report(3.0, loss, status="complete"), space)
        callback.on_trial_end(trials[name])
    callback.on_search_end(trials, over=True)


def test_it_hears_of_failures_of_new_bests_and_of_the_end(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    follow(
        tmp_path,
        f"echo $SALT_TUNE_EVENT $SALT_TUNE_TRIAL >> {tmp_path}/env; cat >> {tmp_path}/in; echo >> {tmp_path}/in",
    )
    assert (tmp_path / "env").read_text().splitlines() == ["new_best T0", "failure T1", "new_best T2", "end T2"]
    told = [json.loads(line) for line in (tmp_path / "in").read_text().splitlines()]
    assert told[0] == {
        "event": "new_best", "run": str(tmp_path), "metric": "val_loss", "trial": "T0", "state": "complete",
        "value": 0.5, "text": "T0 is the best: val_loss 0.5000",
    }  # fmt: skip
    assert told[1]["text"] == "T1 failed: clip 'a\x1b\n' is gone"
    assert (told[3]["over"], told[3]["text"]) == (True, "the search is over: T2 is the best")
    assert capfd.readouterr().out == ""


def test_one_that_fails_is_a_line_each_time(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    follow(tmp_path, "echo 'no such \x1b[2Jhost' >&2; exit 3")
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == r"warning: --notify, new_best: ended with exit code 3: no such \x1b[2Jhost; the search goes on"
    assert len(lines) == 4


def test_one_that_hangs_is_killed_with_its_children(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    follow(tmp_path, "sleep 300 & sleep 300", patience=0.2)
    assert time.monotonic() - began < 60
    assert capfd.readouterr().err.count("was killed after 0.2 s; the search goes on") == 4
