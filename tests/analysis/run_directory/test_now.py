"""A search at one moment: the order of its trials, and what is counted."""

from typing import Any

from analysis.run_directory.events import JobStarted, ResultReported, TrialAdded, TrialEnded, Trials
from analysis.run_directory.now import search_now
from analysis.run_directory.trials import TrialState

DESCRIPTION: dict[str, Any] = {
    "objective": {"metric": "val_r2", "mode": "max"}, "resource": "epoch", "full": 3.0, "parameters": ["lr"],
}  # fmt: skip


def searched() -> Trials:
    """T0 and T10 are complete, T10 is better and has a replicate; T2 is paused, T3 failed, T4 runs."""
    trials = Trials(9)
    for name, of in (("T0", None), ("T2", None), ("T3", None), ("T4", None), ("T10", None), ("T10-seed1", "T10")):
        trials.apply(TrialAdded(name, {"lr": 1e-3}, {}, 0, replicate_of=of))
        trials.apply(JobStarted(name, 0.0, 1.0 if name == "T2" else 3.0, "a test"))
    for name, point, score in (("T0", 3.0, -0.4), ("T10", 3.0, -0.5), ("T10-seed1", 3.0, -0.45), ("T2", 1.0, -0.9)):
        status = "complete" if point == 3.0 else "running"
        report = {"clips_per_second": 70.0, "training_seconds": 5.0}
        trials.apply(ResultReported(name, point, status, score, report=report))
    trials.apply(ResultReported("T4", 1.0, "running", -0.1, report={"clips_per_second": 30.0}))
    trials.apply(TrialEnded("T3", TrialState.FAILED, "gone"))
    return trials


def test_running_trials_come_first_then_the_ranking_with_replicates_behind_their_trial() -> None:
    known = search_now(DESCRIPTION, searched())
    assert [row["trial"] for row in known["ranking"]] == ["T4", "T10", "T10-seed1", "T0", "T2", "T3"]
    assert [row["rank"] for row in known["ranking"]] == [4, 1, None, 2, 3, None]
    assert (known["best"]["trial"], known["best"]["value"], known["best"]["score"]) == ("T10", 0.5, -0.5)


def test_what_is_counted() -> None:
    known = search_now(DESCRIPTION, searched())
    assert (known["trials"]["begun"], known["trials"]["replicates"], known["trials"]["complete"]) == (5, 1, 3)
    assert known["clips_per_second"] == 30.0  # of those that run
    assert known["spent"]["trained"] == 11.0 and known["spent"]["training_seconds"] == 20.0
    assert (known["trials"]["paused"], search_now(DESCRIPTION, searched(), over=True)["trials"]["paused"]) == (1, 0)
