"""What a search took: of its resource, of each trial, and what its workers did when."""

from typing import Any, Final

import pandas as pd

from analysis.tables.run import Run

ACTIVITIES: Final = ("starting", "loading", "training", "waiting", "evaluating")
"""What a worker does for a trial, in this order in each stretch.

starting: its process comes up; loading: it reads the trial's model and checkpoint; training; waiting: for clips;
evaluating. The shares of the last three are those that a trial reports; their order within a stretch is not.
"""
_LANE_TYPES = {"slot": "int64", "trial": "str", "activity": "str", "resource": "float64"}
_COST_TYPES = {
    "trial": "str",
    "state": "str",
    **dict.fromkeys(("resource", "saved", "tflop", "training_seconds"), "float64"),
    **{f"{activity}_seconds": "float64" for activity in ACTIVITIES if activity != "training"},
}


def timeline(run: Run) -> pd.DataFrame:
    """Returns what each worker did when; where a lane has no row, the worker was idle.

    Returns:
        One row a piece of a stretch, a report's: `slot` (the worker's number), `trial`, `activity` (one of
        `ACTIVITIES`), `resource` (of the report), `begin` and `end` (datetime64[us, UTC]). No rows of reports that do
        not say which worker they are from.
    """
    reports = run.reports.dropna(subset=["slot", "submitted", "began", "time"])
    reports = reports[reports["time"] >= reports["began"]]  # else a report that was given again
    before = reports.groupby("trial")["training_seconds"].shift(fill_value=0.0)
    pieces = []
    for report, earlier in zip(reports.to_dict("records"), before, strict=True):
        seconds, end = _seconds(report, earlier), report["submitted"]
        for activity in ACTIVITIES:
            begin, end = end, end + pd.Timedelta(seconds=max(0.0, seconds.get(activity, 0.0)))
            if end > begin:
                pieces.append((report["slot"], report["trial"], activity, report["resource"], begin, end))
    table = pd.DataFrame(pieces, columns=[*_LANE_TYPES, "begin", "end"]).astype(_LANE_TYPES)
    ends = {name: pd.to_datetime(table[name], utc=True).dt.as_unit("us") for name in ("begin", "end")}
    return table.assign(**ends).sort_values(["slot", "begin"], kind="stable", ignore_index=True)


def _seconds(report: dict[Any, Any], earlier: float) -> dict[str, float]:
    """Returns the seconds of each activity in a stretch, before which a trial had trained for so many."""
    stretch = (report["time"] - report["began"]).total_seconds()
    named = {"training": "computing_share", "waiting": "waiting_share", "evaluating": "evaluating_share"}
    shares = {activity: float(report[name]) for activity, name in named.items()}
    starting = (report["began"] - report["submitted"]).total_seconds()
    trained = shares["training"] + shares["waiting"]
    if not trained > 0:  # nor where they are not known
        return {"starting": starting, "training": stretch}
    measured = min(stretch, (report["training_seconds"] - earlier) / trained)
    return {
        "starting": starting,
        "loading": stretch - measured,
        **{activity: share * measured for activity, share in shares.items()},
    }


def cost(run: Run) -> pd.DataFrame:
    """Returns what each trial took, replicates included; `cost(run).sum(numeric_only=True)` is the search.

    Returns:
        One row a trial, T2 before T10: `trial`, `state`, `resource`, `saved` (resource that it was spared: a full trial
        less its own), `tflop`, `training_seconds`; and what its workers spent besides, `starting_seconds`,
        `loading_seconds`, `waiting_seconds` (for clips; part of `training_seconds`), `evaluating_seconds`, as far as
        reports tell.
    """
    lanes = timeline(run)
    lanes = lanes.assign(seconds=(lanes["end"] - lanes["begin"]).dt.total_seconds())
    spent = lanes.pivot_table(index="trial", columns="activity", values="seconds", aggfunc="sum")
    spent = spent.reindex(index=run.trials["trial"], columns=[each for each in ACTIVITIES if each != "training"])
    spent = spent.astype("float64").fillna(0.0).add_suffix("_seconds").reset_index(drop=True)
    own = run.trials[["trial", "state", "resource", "tflop", "training_seconds"]].reset_index(drop=True)
    own = own.assign(saved=(run.full - own["resource"]).clip(lower=0.0))
    return pd.concat([own, spent], axis=1)[list(_COST_TYPES)].astype(_COST_TYPES)
