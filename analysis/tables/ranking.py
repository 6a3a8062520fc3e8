"""How the trials of a search stand: the ranking, trade-offs, and how far the order at a rung holds to the end."""

from dataclasses import asdict
from typing import Any

import pandas as pd

from analysis.errors import RunError
from analysis.run_directory.trials import START
from analysis.statistics.pareto import pareto_front
from analysis.statistics.rung_correlation import RungCorrelation, rung_correlation
from analysis.tables.run import Run
from analysis.tables.summary import RUNG_CORRELATION

_RANKING_TYPES = {
    "rank": "Int64",
    "trial": "str",
    "state": "str",
    "origin": "str",
    "start": "bool",
    "recommended": "bool",
    "tied": "bool",
    "seeds": "int64",
    **dict.fromkeys(("resource", "epochs", "value", "low", "high", "behind", "behind_low", "behind_high"), "float64"),
    "conclusion": "str",
    **dict.fromkeys(("probe_top1", "effective_rank"), "float64"),
    "verdict": "str",
}
WITHIN_95 = 1.96  # standard errors of a normal distribution
_STABILITY_TYPES = {
    **dict.fromkeys(("rung", "deepest"), "float64"),
    "trials": "int64",
    **dict.fromkeys(("spearman", "low", "high"), "float64"),
    "conclusion": "str",
}


def ranking(run: Run) -> pd.DataFrame:
    """Returns the configurations of a search, best first; those without a rank last. Replicates count as seeds.

    Returns:
        One row a configuration: `rank` (missing: none), `trial`, `state`, `origin`, `start` (the user's own point),
        `recommended`, `tied` (with the winner, or it is the winner), `seeds` (that were trained to the end),
        `resource`, `epochs`; `value` of the objective as people read it, the mean over the seeds where there are
        several, with the ends `low` and `high` of its own 95% interval: over the seeds, or else over the clips where
        the objective is `val_loss`; `behind`, `behind_low`, `behind_high`: `val_loss` less the winner's and its
        interval, which holds together with all others, and its `conclusion` (see docs/run-directory.md); `probe_top1`,
        `effective_rank`, `verdict`; and a column a searched parameter, as `config.NAME` where a column above has its
        name.
    """
    finalists = {each["id"]: each for each in run.summary["finalists"]}
    compared = {trial["id"]: trial["against_winner"] or {} for trial in run.summary["trials"]}
    trials = run.trials[run.trials["replicate_of"].isna()]
    repeated = run.trials.loc[run.trials["state"] == "complete", "replicate_of"].value_counts()
    tied, recommended = set(run.summary["tied"]), run.summary.get("recommended")
    rows = []
    for row in trials.to_dict("records"):
        name = str(row["trial"])
        against = compared[name]
        rows.append(
            {
                **{column: row[column] for column in _RANKING_TYPES if column in row},
                "start": row["origin"] == START,
                "recommended": name == recommended,
                "tied": name in tied,
                "seeds": int(row["state"] == "complete") + int(repeated.get(name, 0)),
                **_interval(run, row, finalists.get(name)),
                "behind": against.get("difference"),
                "behind_low": against.get("low"),
                "behind_high": against.get("high"),
                "conclusion": against.get("conclusion"),
            }
        )
    table = pd.DataFrame(rows, columns=list(_RANKING_TYPES)).astype(_RANKING_TYPES)
    parameters = trials[run.parameters].reset_index(drop=True)
    parameters = parameters.rename(columns={name: f"config.{name}" for name in run.parameters if name in table})
    table = pd.concat([table, parameters], axis=1)
    return table.sort_values(["rank", "resource"], ascending=[True, False], kind="stable", ignore_index=True)


def _interval(run: Run, row: dict[Any, Any], finalist: dict[str, Any] | None) -> dict[str, float | None]:
    """Returns the value of a configuration and the ends of its interval."""
    sign = 1.0 if run.mode == "min" else -1.0
    if finalist is not None and finalist["mean"] is not None:
        ends = [None if (end := finalist[name]) is None else sign * end for name in ("low", "high")]
        low, high = ends if run.mode == "min" else ends[::-1]
        return {"value": sign * finalist["mean"], "low": low, "high": high}
    if row["score"] is None or row["state"] == "diverged":
        return {"value": None, "low": None, "high": None}
    value = sign * row["score"]
    error = row["val_loss_se"] if run.metric == "val_loss" else None
    if error is None or pd.isna(error):
        return {"value": value, "low": None, "high": None}
    return {"value": value, "low": value - WITHIN_95 * error, "high": value + WITHIN_95 * error}


def scores_at_rungs(run: Run) -> pd.DataFrame:
    """Returns the score of each configuration at each rung that it reached, lower is better.

    Returns:
        One row a configuration, T2 before T10, indexed by `trial`; one float64 column a rung, ascending.
    """
    first = run.trials.loc[run.trials["replicate_of"].isna(), "trial"]
    weights = {name: float(weight) for name, weight in run.summary["objective"]["weights"].items()}
    known = run.reports[run.reports["trial"].isin(first) & run.reports["status"].isin(("running", "complete"))]
    # Of an objective of two metrics the decisions alone know what it came to.
    if len(run.decisions):
        results = run.decisions[run.decisions["event"] == "result"]
        results = results[results["trial"].isin(first) & results["status"].isin(("running", "complete"))]
        known = results[["trial", "resource", "score"]]
    else:
        signs = {name: -1.0 if run.summary["metrics"][name]["goal"] == "max" else 1.0 for name in weights}
        score = sum((signs[name] * weight * known[name] for name, weight in weights.items()), start=0.0)
        known = known[["trial", "resource"]].assign(score=score)
    at_rung = known[known["resource"].isin(run.summary["rungs"])].drop_duplicates(["trial", "resource"], keep="last")
    table = at_rung.pivot(index="trial", columns="resource", values="score")
    table.columns.name = None
    return table.reindex(index=first, columns=[float(rung) for rung in run.summary["rungs"]]).astype("float64")


def rank_stability(run: Run) -> pd.DataFrame:
    """Returns how far the order of the trials at each rung is that at the deepest one, also of a search that runs.

    Returns:
        One row a rung, ascending: `rung`, `deepest`, `trials`, `spearman`, `low`, `high` (NaN where there are too few)
        and `conclusion`; see `analysis.statistics.rung_correlation`.
    """
    if run.over:
        found = [
            RungCorrelation(**{name: entry[name] for name in RUNG_CORRELATION})
            for entry in run.summary["rung_correlations"]
        ]
    else:
        scores = scores_at_rungs(run)
        found = rung_correlation(
            {rung: {str(name): score for name, score in scores[rung].dropna().items()} for rung in run.summary["rungs"]}
        )
    rows = [{**asdict(each), "conclusion": each.conclusion} for each in found]
    return pd.DataFrame(rows, columns=list(_STABILITY_TYPES)).astype(_STABILITY_TYPES)


def pareto(run: Run, against: str | None = None) -> pd.DataFrame:
    """Returns what the complete trials get in the objective, and what they cost.

    Args:
        run: the search.
        against: the cost: `parameters` (of student and predictor), or a column of the trials such as `step_seconds` or
            `training_seconds`; None: the second objective of the search, or `training_seconds` where it had none.

    Returns:
        One row a trial, cheapest first: `trial`, `value` of the objective, `cost`, `front` (none beats it in both).

    Raises:
        RunError: the trials have no such column.
    """
    against = against or run.summary["objective"]["against"] or "training_seconds"
    trials = run.trials[(run.trials["state"] == "complete") & run.trials["replicate_of"].isna()]
    if against != "parameters" and against not in trials.select_dtypes("number"):
        raise RunError(f"{run.directory.path}: against = {against!r}, and must be a number of each trial")
    both = trials["student_parameters"] + trials["predictor_parameters"]
    costs = (both if against == "parameters" else trials[against]).astype("float64")
    table = trials[["trial", "score"]].assign(cost=costs).dropna()
    front = set(pareto_front(table[["score", "cost"]].to_numpy("float64").tolist()))
    value = table["score"] if run.mode == "min" else -table["score"]
    table = table.assign(value=value, front=[place in front for place in range(len(table))])
    return table[["trial", "value", "cost", "front"]].sort_values("cost", kind="stable", ignore_index=True)
