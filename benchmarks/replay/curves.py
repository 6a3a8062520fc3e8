"""Learning curves in parquet files, and the pools of trials that a replay draws from.

Curves: a row for each evaluation, with the columns task, config, seed, step, value and, where known, cost. A lower
value is better; it is not finite from where a trial diverged. The cost is the seconds of the training since the
evaluation before. Configurations: a row each, with the column config and one numeric column a hyperparameter.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Pool:
    """The curves of one task, from which each repetition draws its trials.

    Attributes:
        task: its name.
        values: (seeds, configurations, 1 + steps); column s is after s steps.
        clock: (configurations, 1 + steps) time from the start of training to each step.
        ends: (configurations,) what a configuration is worth: its value at the full length, averaged over the seeds,
            infinite where one of them diverged.
        units: (configurations, hyperparameters) ranks of the hyperparameters' values, from 0 to 1; or None.
    """

    task: str
    values: Array
    clock: Array
    ends: Array
    units: Array | None

    def __len__(self) -> int:
        return len(self.ends)

    def rank(self, end: float) -> float:
        """Returns the share of the pool that is better than `end`."""
        return float(np.mean(self.ends < end))

    def regret(self, end: float) -> float:
        """Returns how far `end` is from the best on the scale on which the median is 1; 1 for all that is worse."""
        finite = self.ends[np.isfinite(self.ends)]
        best, median = float(finite.min()), float(np.median(finite))
        return min(1.0, (end - best) / (median - best))


def read(curves: Path, full: int, configs: Path | None = None) -> list[Pool]:
    """Reads the pools of a file, one a task, up to `full` steps."""
    table = pd.read_parquet(curves)
    table = table[table["step"] <= full]
    hyperparameters = pd.read_parquet(configs).set_index("config").sort_index() if configs else None
    return [_pool(str(task), rows, full, hyperparameters) for task, rows in table.groupby("task", observed=True)]


def _pool(task: str, rows: pd.DataFrame, full: int, hyperparameters: pd.DataFrame | None) -> Pool:
    names = np.unique(rows["config"])
    config = np.searchsorted(names, rows["config"])
    seed = np.unique(rows["seed"], return_inverse=True)[1]
    values = np.full((seed.max() + 1, len(names), full + 1), np.inf)
    values[seed, config, rows["step"]] = rows["value"]
    values[~np.isfinite(values)] = np.inf
    passed = np.ones((len(names), full + 1))
    if "cost" in rows:
        first = seed == 0
        passed[config[first], rows["step"][first]] = rows["cost"][first]
    passed[:, 0] = 0
    units = None
    if hyperparameters is not None:
        units = ((hyperparameters.loc[names].rank() - 0.5) / len(names)).to_numpy(np.float64)
    return Pool(task, values, passed.cumsum(1), values[:, :, full].mean(0), units)


def write(path: Path, task: str, values: Array) -> None:
    """Writes (seeds, configurations, 1 + steps) values as a file of curves."""
    seeds, configs, steps = (axis.ravel() for axis in np.indices(values.shape))
    columns = {"task": task, "config": configs, "seed": seeds, "step": steps, "value": values.ravel()}
    pd.DataFrame(columns).to_parquet(path, index=False)


def write_configs(path: Path, hyperparameters: Array) -> None:
    """Writes (configurations, hyperparameters) values as a file of configurations."""
    table = pd.DataFrame(hyperparameters, columns=[f"x{number}" for number in range(hyperparameters.shape[1])])
    table.insert(0, "config", range(len(table)))
    table.to_parquet(path, index=False)
