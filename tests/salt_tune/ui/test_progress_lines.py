"""How far a run is, in words: what is known is said, and nothing else."""

from datetime import UTC, datetime, timedelta
from typing import Any

from analysis.run_directory.trials import TrialState
from salt_tune.ui.progress_lines import change_line, final_lines, search_lines

HOLDER = {"pid": 7, "host": "node7", "alive": False, "until": None}
TRIALS = {state.value: 0 for state in TrialState} | {
    "running": 1,
    "waiting": 0,
    "asked": 4,
    "begun": 2,
    "replicates": 0,
}
SPENT = {"resource": "epoch", "trained": 3.0, "budget": 12.0, "without_pruning": None, "wall_seconds": 300.0,
         "training_seconds": 50.0}  # fmt: skip
FINAL: dict[str, Any] = {
    "kind": "final", "run": "runs/a/final/T0-20epochs", "name": "T0-20epochs", "state": "running", "running": True,
    "holder": None, "epoch": 4.5, "epochs": 20.0, "val_loss": 0.25, "clips_per_second": 12.0, "seconds_left": 90.0,
    "error": None, "last_report": {"age_seconds": 30.0}, "goes_on": None,
}  # fmt: skip
SEARCH: dict[str, Any] = {
    "kind": "search", "run": "runs/a", "name": "a", "state": "running", "running": True, "holder": None, "best": None,
    "trials": TRIALS, "spent": SPENT, "clips_per_second": 12.0, "last_report": {"trial": "T1", "age_seconds": 30.0},
    "time_left": {"expected": 240.0, "low": 180.0, "high": 300.0}, "finals": [FINAL], "goes_on": None,
}  # fmt: skip


def test_a_search_with_a_budget_that_runs_elsewhere() -> None:
    since = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    lines = dict(search_lines({**SEARCH, "holder": {**HOLDER, "since": since}}))
    assert lines["run"].startswith("runs/a: running for 5 min, since ")
    assert lines["run"].endswith(", as process 7 on host node7, which cannot be seen from here")
    assert (lines["best"], lines["trials"]) == ("none yet", "2 of 4 begun: 1 running")
    assert lines["spent"] == "3 epochs of 12 (25% of the budget); 5 min, with 50 s of training"
    assert lines["left"] == "about 4 min (3 min to 5 min); 12 clips/s"
    assert lines["report"] == "T1, 30 s ago"
    assert lines["final"].startswith("T0-20epochs: running; epoch 4.5 of 20, val_loss 0.25")
    assert change_line(SEARCH) == "a running; 2 of 4 begun: 1 running; left about 4 min (3 min to 5 min); 12 clips/s"


def test_a_promoted_run_before_and_after_its_first_report() -> None:
    trained = "epoch 4.5 of 20, val_loss 0.2500, 12 clips/s, about 90 s of training left"
    assert dict(final_lines(FINAL)) == {
        "run": "runs/a/final/T0-20epochs: running", "at": trained, "report": "30 s ago",
    }  # fmt: skip
    assert change_line(FINAL) == f"T0-20epochs running: {trained}"
    nothing = {"epoch": 0.0, "val_loss": None, "clips_per_second": None, "seconds_left": None, "last_report": None}
    failed = {**FINAL, **nothing, "state": "failed", "error": "Traceback\nValueError: no", "goes_on": "promote runs/a"}
    assert dict(final_lines(failed)) == {
        "run": "runs/a/final/T0-20epochs: failed", "at": "epoch 0 of 20, ended by an error: ValueError: no",
        "go on": "promote runs/a",
    }  # fmt: skip
