"""A search at one moment: what a live view, a status and a report that is kept up show of it."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from analysis.errors import require_fields
from analysis.run_directory.events import Trials
from analysis.run_directory.ranking import ranking, standing
from analysis.run_directory.reports import natural
from analysis.run_directory.trials import Trial, TrialState

BEST: Final = ("trial", "state", "score", "metric", "value", "resource", "epochs", "verdict")
NEEDED: Final = ("objective", "resource", "full", "parameters")


def search_now(description: Mapping[str, Any], trials: Trials, *, over: bool = False) -> dict[str, Any]:
    """Returns what is known of the trials of a search.

    Args:
        description: `objective`, `resource`, `full` and `parameters`, as in run.json.
        trials: all that are known.
        over: nothing is left to do, so that no paused trial will go on: they count as pruned.

    Returns:
        `trials`, `best`, `spent`, `clips_per_second` and `ranking`; docs/run-directory.md, "Status", has their fields.

    Raises:
        RunError: the description lacks a field.
    """
    require_fields("run.json", description, NEEDED)
    require_fields("run.json, objective", description["objective"], ("metric", "mode"))
    known = [*trials.values()]  # a copy, as a search adds trials meanwhile
    ordered = dict.fromkeys(trial.id for trial in (*standing(known), *ranking(known)))
    ranks = {trial: place for place, trial in enumerate(ordered, start=1)}
    rows = [_row(trial, ranks.get(trial.id), description) for trial in known]
    for row in rows:
        if over and row["state"] == TrialState.PAUSED:
            row["state"] = str(TrialState.PRUNED)
    last = len(rows) + 1

    def place(row: dict[str, Any]) -> tuple[bool, int, bool, str]:
        """Sorts running trials first, then by rank; a replicate stands behind the trial that it repeats."""
        rank = row["rank"] or ranks.get(row["replicate_of"] or "", last)
        return row["state"] != TrialState.RUNNING, rank, row["replicate_of"] is not None, natural(row["trial"])

    rows.sort(key=place)
    own = [trial for trial in known if trial.replicate_of is None]
    states = Counter(row["state"] for row in rows)
    best = next((row for row in rows if row["rank"] == 1), None)
    speeds = [row["clips_per_second"] for row in rows if row["state"] == TrialState.RUNNING]
    return {
        "trials": {
            "begun": len(own),
            "replicates": len(known) - len(own),
            **{str(state): states[state] for state in TrialState if state is not TrialState.INTERRUPTED},
        },
        "best": best and {name: best[name] for name in BEST},
        "spent": {
            "resource": description["resource"],
            "trained": sum(trial.resource for trial in known),
            "without_pruning": len(known) * description["full"],
            "training_seconds": sum(trial.value("training_seconds") or 0.0 for trial in known),
        },
        "clips_per_second": sum(speed or 0.0 for speed in speeds) if any(speeds) else None,
        "ranking": rows,
    }


def _row(trial: Trial, rank: int | None, description: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of a trial in `ranking`."""
    objective = description["objective"]
    score = trial.score if trial.score < float("inf") else None
    value = score if score is None or objective["mode"] == "min" else -score
    return {
        "trial": trial.id,
        "state": str(trial.state),
        "rank": rank,
        "score": score,
        "metric": objective["metric"],
        "value": value,
        "resource": trial.resource,
        "milestone": trial.milestone,
        "epochs": trial.epochs,
        "verdict": trial.verdict,
        "probe_top1": trial.value("probe_top1"),
        "clips_per_second": trial.value("clips_per_second"),
        "parameters": {name: trial.parameters[name] for name in description["parameters"] if name in trial.parameters},
        "replicate_of": trial.replicate_of,
        "error": trial.error,
    }
