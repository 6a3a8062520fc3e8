"""What a final run will come to, as the learning curves of the search tell."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.run_directory.journal import read_counted
from analysis.run_directory.paths import RunDirectory
from salt_tune.schedulers.freeze_thaw import HEAVY_TAILS
from salt_tune.schedulers.learning_curves import Array, CurveModel
from salt_tune.space.search_space import SearchSpace
from salt_tune.ui.format import exact

FEWEST = 4  # curves that tell how curves go on
WITHIN_95 = 1.96  # standard deviations


@dataclass(frozen=True)
class Prediction:
    """A loss at the end of a final run, with the ends of its 95% interval."""

    loss: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{exact(self.loss)} [{exact(self.low)}, {exact(self.high)}]"


def predict_loss(run: RunDirectory, space: SearchSpace, trial: str, epochs: float) -> Prediction | None:
    """Predicts `val_loss` of a trial at the end of a longer run whose beginning it is.

    Args:
        run: of the search.
        space: that was searched.
        trial: the trial.
        epochs: of the longer run.

    Returns:
        None where the search was not counted in epochs, or too few of its trials tell.
    """
    rungs = [rung for rung in space.schedule.rung_points() if rung < epochs]
    if space.schedule.resource != "epoch" or not rungs:
        return None
    rows: dict[str, dict[float, float]] = {}
    for name, report in read_counted(run):  # by the rung: a step may end a little before or behind it
        rows.setdefault(name, {})[report["resource"]] = report["val_loss"]
    values = np.array([[row.get(rung, np.nan) for rung in rungs] for row in rows.values()])
    values[np.isnan(values).cumsum(axis=1) > 0] = np.nan  # a curve is known up to its first gap
    names = [name for name, row in zip(rows, values, strict=True) if np.isfinite(row[0])]
    curves = values[np.isfinite(values[:, 0])]
    if len(names) < FEWEST or trial not in names:
        return None
    return predict_ends(curves, [*rungs, epochs])[names.index(trial)]


def predict_ends(curves: Array, points: Sequence[float]) -> list[Prediction]:
    """Predicts how learning curves end, by the model of the freeze-thaw scheduler and its factor for heavy tails.

    Args:
        curves: losses, shape (curves, points - 1); NaN from where one is not known.
        points: at which the losses are known, ascending, and the end.
    """
    model, ahead = CurveModel(points), np.full((len(curves), 1), np.nan)
    whole, levels = np.hstack([curves, ahead]), np.isfinite(curves).sum(1) - 1
    model.fit(whole)
    halves = WITHIN_95 * HEAVY_TAILS * model.spread[levels]
    return [
        Prediction(float(loss), float(loss - half), float(loss + half))
        for loss, half in zip(model.predict(whole, levels), halves, strict=True)
    ]
