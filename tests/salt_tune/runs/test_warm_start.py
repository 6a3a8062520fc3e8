"""Trials of earlier searches: only such as mean the same, with what can be used of them."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from analysis.errors import RunError
from analysis.run_directory.events import Event, JobStarted, ResultReported, TrialEnded, TrialPruned
from analysis.run_directory.journal import encode
from analysis.run_directory.paths import FORMAT_VERSION, RunDirectory
from analysis.run_directory.trials import Trial, TrialState
from salt_tune.controller.factory import make_searcher
from salt_tune.controller.new_trial import new_trial
from salt_tune.runs.warm_start import earlier_trials, remember_trial, remembered_trials
from salt_tune.space.search_space import SearchSpace
from trainable.errors import UserError

STORE = {
    "path": "/somewhere",
    "view_hash": "abc",
    "teacher": "pixels",
    "teacher_sha256": "def",
    "train_clips": 64,
    "val_clips": 8,
}


def space(**entries: Any) -> SearchSpace:
    content = {
        "name": "s",
        "fixed": {"batch_size": 8},
        "parameters": {
            "lr": {"type": "log_uniform", "low": 1e-5, "high": 1e-1},
            "predictor_depth": {"type": "int", "low": 1, "high": 12},
        },
        "schedule": {"epochs": 3, "rungs": [1], "reports": 2},
        "trials": 9,
    }
    return SearchSpace.model_validate({**content, **entries})


def result(trial: str, resource: float, score: float, status: str = "running") -> Event:
    return ResultReported(trial, resource, status, score)


def write(folder: Path, searched: SearchSpace, trials: dict[str, dict[str, Any]], *events: Event) -> Path:
    """A run directory with trials of these parameters, to which this happened."""
    run = RunDirectory(folder / "earlier")
    run.path.mkdir()
    run.manifest.write_text(json.dumps({"format_version": FORMAT_VERSION, "store": STORE}), encoding="utf-8")
    run.space.write_text(yaml.safe_dump(searched.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
    starts = [new_trial(searched, name, values, seed=3) for name, values in trials.items()]
    lines = [json.dumps(encode(event)) + "\n" for event in (*starts, *events)]
    run.decisions.write_text("".join(lines), encoding="utf-8")
    return run.path


POINTS = {f"T{number}": {"lr": 1e-3, "predictor_depth": number + 1} for number in range(5)}


def known(trials: list[Trial]) -> list[tuple[dict[str, Any], dict[float, float], TrialState]]:
    """What a searcher learns from earlier trials."""
    return [(trial.parameters, trial.scores, trial.state) for trial in trials]


def test_trials_come_with_their_scores_at_the_rungs_and_their_ends(tmp_path: Path) -> None:
    run = write(
        tmp_path,
        space(),
        POINTS,
        result("T0", 1.0, 0.5),
        result("T0", 1.5, 0.4),  # no rung
        result("T0", 3.0, 0.25, "complete"),
        result("T1", 1.0, 0.75),
        TrialPruned("T1"),
        result("T2", 1.5, math.inf, "diverged"),
        TrialEnded("T3", TrialState.FAILED, "no CUDA"),
        replace(new_trial(space(), "T0-seed1", POINTS["T0"], seed=4), replicate_of="T0"),
        result("T0-seed1", 3.0, 0.2, "complete"),
    )
    found = earlier_trials(run, STORE, space())
    assert known(found.trials) == [
        (POINTS["T0"], {1.0: 0.5, 3.0: 0.25}, "complete"),
        (POINTS["T1"], {1.0: 0.75}, "pruned"),
        (POINTS["T2"], {}, "diverged"),
        (POINTS["T3"], {}, "failed"),
    ]
    assert found.left_out == {"no score at a rung of this search": 1}
    searcher = make_searcher(space(), seed=0)
    searcher.warm_start(found.trials)
    assert searcher.suggest("T0") not in POINTS.values()


def test_a_low_loss_is_no_reason_to_search_where_features_collapsed(tmp_path: Path) -> None:
    run = write(tmp_path, space(), POINTS, result("T0", 1.0, 0.2), result("T1", 1.0, 0.75))
    verdicts = {"T0": "collapsed", "T1": "better than untrained"}
    lines = [
        {"trial": trial, "resource": 1.0, "status": "running", "verdict": verdict}
        for trial, verdict in verdicts.items()
    ]
    RunDirectory(run).reports.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    scores = {trial.id: trial.scores for trial in earlier_trials(run, STORE, space()).trials}
    assert scores == {"T0": {1.0: math.inf}, "T1": {1.0: 0.75}}


def test_a_running_trial_whose_report_had_no_score_runs_on_and_counts_as_in_its_own_search(tmp_path: Path) -> None:
    job = JobStarted("T0", 0.0, 3.0, "a test")
    run = write(tmp_path, space(), POINTS, job, result("T0", 1.0, math.inf), result("T0", 1.5, 0.4))
    (found,) = earlier_trials(run, STORE, space()).trials
    assert (found.state, found.scores) == (TrialState.RUNNING, {1.0: math.inf})
    near, far = ({"lr": 1e-3, "predictor_depth": depth} for depth in (1, 12))

    def suggested(score: float) -> dict[str, Any] | None:
        searcher = make_searcher(space(searcher="tpe", trials=3), seed=0)
        good = [Trial(f"E{n}", {**far, "lr": 10**-n}, {}, 0, scores={1.0: 0.1 * n}) for n in range(2, 5)]
        searcher.warm_start([*good, replace(found, parameters=near, scores={1.0: score})])
        return searcher.suggest("T0")

    assert suggested(math.inf) != suggested(0.0)  # one is avoided, the other sought


def test_what_run_json_keeps_of_them_teaches_a_resumed_search_the_same(tmp_path: Path) -> None:
    run = write(tmp_path, space(), POINTS, result("T0", 1.0, 0.5), result("T1", 1.0, math.inf), result("T0", 3.0, 0.4))
    found = earlier_trials(run, STORE, space()).trials
    kept = json.loads(json.dumps([remember_trial(trial) for trial in found], allow_nan=False))
    assert known(remembered_trials({"warm_start": kept})) == known(found)


@pytest.mark.parametrize(
    ("store", "entries", "complaint"),
    [
        ({"view_hash": "xyz"}, {}, "store.view_hash = 'abc' there, and 'xyz' here"),
        ({"teacher_sha256": "xyz"}, {}, "store.teacher_sha256 = 'def' there, and 'xyz' here"),
        ({"train_clips": 65}, {}, "store.train_clips = 64 there, and 65 here"),
        ({"val_clips": 9}, {}, "store.val_clips = 8 there, and 9 here"),
        ({}, {"objective": "val_r2"}, "objective = 'val_loss' there, and 'val_r2' here"),
        ({}, {"evaluation": {"mask_ratio": 0.5}}, "evaluation.mask_ratio = 0.75 there, and 0.5 here"),
        ({}, {"schedule": {"epochs": 4}}, "full trial = 3.0 there, and 4.0 here"),
        ({}, {"schedule": {"tflops": 3}}, "resource = 'epoch' there, and 'tflop' here"),
    ],
)
def test_a_run_whose_scores_mean_something_else_is_refused(
    tmp_path: Path, store: dict[str, Any], entries: dict[str, Any], complaint: str
) -> None:
    run = write(tmp_path, space(), POINTS)
    with pytest.raises(UserError) as raised:
        earlier_trials(run, {**STORE, **store}, space(**entries))
    assert str(raised.value) == f"{run}: its scores cannot be compared with this search's: {complaint}"


def test_the_place_of_the_store_and_the_rungs_may_differ(tmp_path: Path) -> None:
    run = write(
        tmp_path, space(), POINTS, result("T0", 1.0, 0.5), result("T1", 1.5, 0.5), result("T1", 3.0, 0.4, "complete")
    )
    here = space(schedule={"epochs": 3, "rungs": [1.5]}, name="other", searcher="tpe", trials=3)
    found = earlier_trials(run, {**STORE, "path": "/elsewhere"}, here)
    assert known(found.trials) == [(POINTS["T1"], {1.5: 0.5, 3.0: 0.4}, "complete")]
    assert found.left_out == {"no score at a rung of this search": 4}


def test_trials_that_this_search_could_not_make_are_left_out_and_counted(tmp_path: Path) -> None:
    depths = [result(name, 3.0, 0.5, "complete") for name in POINTS]
    run = write(tmp_path, space(), POINTS, *depths)
    narrow = space(parameters={"predictor_depth": {"type": "int", "low": 2, "high": 4}}, fixed={"batch_size": 8})
    lr = "lr has another value, and is not searched"
    assert earlier_trials(run, STORE, narrow).left_out == {"predictor_depth is not in its range": 2, lr: 3}
    fixed = narrow.model_copy(update={"fixed": {"batch_size": 8, "lr": 1e-3}})
    found = earlier_trials(run, STORE, fixed)
    assert [trial.parameters for trial in found.trials] == [{"predictor_depth": depth} for depth in (2, 3, 4)]
    assert found.left_out == {"predictor_depth is not in its range": 2}
    other = narrow.model_copy(update={"fixed": {"batch_size": 16, "lr": 1e-3}})
    assert earlier_trials(run, STORE, other).trials == []


def test_conditions_of_this_search_decide_what_is_a_parameter(tmp_path: Path) -> None:
    run = write(tmp_path, space(), POINTS, *(result(name, 3.0, 0.5, "complete") for name in POINTS))
    lr = {"type": "log_uniform", "low": 1e-5, "high": 1e-1, "when": {"predictor_depth": [2, 3]}}
    depth = {"type": "int", "low": 1, "high": 12}
    found = earlier_trials(run, STORE, space(parameters={"predictor_depth": depth, "lr": lr}))
    assert [trial.parameters for trial in found.trials] == [
        {"predictor_depth": 2, "lr": 1e-3},
        {"predictor_depth": 3, "lr": 1e-3},
    ]
    assert found.left_out == {"lr has another value, and is not searched": 3}


def test_a_run_that_goes_on_is_read_and_left_alone(tmp_path: Path) -> None:
    run = write(tmp_path, space(), POINTS, result("T0", 1.0, 0.5))
    journal = run / "decisions.jsonl"
    with journal.open("a", encoding="utf-8") as file:
        file.write('{"event": "resu')
    before = journal.read_bytes()
    assert [trial.state for trial in earlier_trials(run, STORE, space()).trials] == ["paused"]
    assert journal.read_bytes() == before


def test_a_damaged_journal_is_named(tmp_path: Path) -> None:
    run = write(tmp_path, space(), POINTS)
    with (run / "decisions.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"event": "start", "trial": "T9"}\n')
    with pytest.raises(RunError, match=r"decisions\.jsonl: line 6 is damaged: KeyError: 'parameters'"):
        earlier_trials(run, STORE, space())


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"has no run\.json"):
        earlier_trials(tmp_path, STORE, space())
