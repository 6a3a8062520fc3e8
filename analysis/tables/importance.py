"""Which hyperparameters a search's scores follow, by Optuna's evaluator."""

from functools import lru_cache
from typing import Any, Final

import pandas as pd

from analysis.tables.ranking import scores_at_rungs
from analysis.tables.run import Run

FEWEST: Final = 6  # trials; of fewer, nothing is said
MOST: Final = 200  # trials; of more, so many are taken, as the forest takes minutes for a thousand
TREES: Final = 32
FEW_A_PARAMETER: Final = 10  # trials for each parameter; with fewer, the caveat says so
_TYPES = {
    "parameter": "str",
    "importance": "float64",
    "spearman": "float64",
    "trials": "int64",
    "rung": "float64",
    "caveat": "str",
}


def comparable(run: Run) -> tuple[float, pd.DataFrame] | None:
    """Returns the trials that can be compared at one rung: the deepest that most of the scored ones came to.

    Deeper rungs hold good trials alone. What told them from the bad ones is not seen there any more.

    Returns:
        The rung, and of each trial there its parameters and `score` (lower is better), indexed by `trial`; None where
        fewer than `FEWEST` trials have a score at any.
    """
    scores = scores_at_rungs(run)
    counts = scores.notna().sum()
    if counts.max() < FEWEST if len(counts) else True:
        return None
    rung = float(counts[counts >= max(FEWEST, 0.8 * counts.max())].index[-1])
    table = run.trials.set_index("trial")[run.parameters].assign(score=scores[rung])
    return rung, table.dropna(subset="score")


def importance(run: Run, *, seed: int = 0) -> pd.DataFrame:
    """Returns how much of the scores' variance each searched hyperparameter explains, by functional ANOVA.

    Optuna's `FanovaImportanceEvaluator` fits a random forest to the trials at one rung (`comparable`). Parameters that
    are unset in some trials are left out, as are trials with values outside the ranges.

    Args:
        run: the search.
        seed: of the forest.

    Returns:
        One row a parameter, the most important first: `parameter`, `importance` (they sum to 1), `spearman` (rank
        correlation of its values with the score, lower is better: a negative one says that more is better; NaN of
        categories), `trials`, `rung` (where they were compared) and `caveat` (what to beware of). No rows with fewer
        than `FEWEST` trials, equal scores, or no parameter that has two values.
    """
    return _importance(run, seed).copy()


@lru_cache(maxsize=8)  # a page asks for it twice
def _importance(run: Run, seed: int) -> pd.DataFrame:
    found = comparable(run)
    empty = pd.DataFrame(columns=list(_TYPES)).astype(_TYPES)
    if found is None:
        return empty
    rung, table = found
    names = [
        name
        for name in run.parameters
        if name in run.summary["ranges"] and table[name].notna().all() and table[name].nunique() > 1
    ]
    count = len(table)
    table = table.sample(min(MOST, count), random_state=seed).sort_index()
    inside = [all(_inside(run, name, row[name]) for name in names) for row in table.to_dict("records")]
    table = table[inside]
    names = [name for name in names if table[name].nunique() > 1]
    if len(table) < FEWEST or not names or table["score"].nunique() < 2:
        return empty
    shares = _fanova(run, table, names, seed)
    caveat = _caveat(run, count, len(table), len(names), rung)
    rows = [
        {
            "parameter": name,
            "importance": share,
            "spearman": _spearman(run, table, name),
            "trials": len(table),
            "rung": rung,
            "caveat": caveat,
        }
        for name, share in shares.items()
    ]
    return pd.DataFrame(rows, columns=list(_TYPES)).astype(_TYPES)


def _fanova(run: Run, table: pd.DataFrame, names: list[str], seed: int) -> dict[str, float]:
    import optuna  # takes half a second
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study()
        distributions = {name: _distribution(run, name) for name in names}
        for row in table.to_dict("records"):
            params = {name: _plain(run, name, row[name]) for name in names}
            trial = optuna.trial.create_trial(params=params, distributions=distributions, value=float(row["score"]))
            study.add_trial(trial)
        shares = get_param_importances(
            study, evaluator=FanovaImportanceEvaluator(n_trees=TREES, seed=seed), params=names
        )
    finally:
        optuna.logging.set_verbosity(before)
    return {name: float(share) for name, share in shares.items()}


def _distribution(run: Run, name: str) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    extent, log = run.summary["ranges"][name], run.summary["scales"][name] == "log"
    if "values" in extent:
        return CategoricalDistribution([str(value) for value in extent["values"]])
    whole = all(isinstance(end, int) for end in extent.values())
    return (IntDistribution if whole else FloatDistribution)(extent["low"], extent["high"], log=log)


def _plain(run: Run, name: str, value: Any) -> Any:
    """Returns a value as Optuna takes it; categories as text, as some cannot stand in one column otherwise."""
    extent = run.summary["ranges"][name]
    if "values" in extent:
        return str(value)
    return int(value) if all(isinstance(end, int) for end in extent.values()) else float(value)


def _inside(run: Run, name: str, value: Any) -> bool:
    extent = run.summary["ranges"][name]
    if "values" in extent:
        return str(value) in {"null" if each is None else str(each) for each in extent["values"]}
    return bool(extent["low"] <= value <= extent["high"])


def _spearman(run: Run, table: pd.DataFrame, name: str) -> float:
    if "values" in run.summary["ranges"][name]:
        return float("nan")
    # Of the ranks, as scipy's own takes half a second to import.
    return float(table[name].astype("float64").rank().corr(table["score"].rank()))


def _caveat(run: Run, count: int, trials: int, parameters: int, rung: float) -> str:
    said = [] if count <= MOST else [f"of {trials} of the {count} trials"]
    if trials < FEW_A_PARAMETER * parameters:
        said.append(f"{trials} trials are few for {parameters} parameters")
    if rung < run.full:
        said.append(f"of scores at {rung:g} of {run.full:g} {run.resource}s, which may weigh parameters otherwise")
    if run.trials["origin"].isin(("tpe", "gp")).any():
        said.append("the searcher drew where scores were good, and the rest of the space is seen less well")
    return "; ".join(said)
