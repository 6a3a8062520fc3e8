"""The signals that the runs give at each point, and the truths that they are to predict."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.replay.curves import Array
from benchmarks.transfer.plan import Kind, Plan
from benchmarks.transfer.records import Key, Record
from salt_tune.schedulers.learning_curves import CurveModel
from trainable.metrics import METRICS, computed

LOSS = "val_loss"
RELATIVE = "over_position_mean"  # the mean over the clips of the loss over that of the mean at each position
LOSSES = (LOSS, RELATIVE)
TRUTHS = (LOSS, "probe_top1")
BOUNDS = ("_low", "_high")  # ends of an interval, which are no signals of their own
GUARDS = {"effective_rank": (0.3, 0.5, 0.6), "lidar": (0.5, 0.6, 0.7)}  # shares of what untrained students have
PENALTIES = np.logspace(-2, 3, 11)

Source = str
COSINE, CONSTANT, AVERAGED = "cosine", "constant rate", "averaged weights"
SOURCES = (COSINE, CONSTANT, AVERAGED)


@dataclass(frozen=True)
class Truth:
    """What a long run comes to.

    Attributes:
        source: which long run: at the end of the cosine, or the averaged weights of the run at a constant rate.
        metric: what is measured.
        values: (configurations,), averaged over the seeds; higher is better.
    """

    source: Source
    metric: str
    values: Array

    @property
    def name(self) -> str:
        """What it is, in words."""
        return f"{self.metric}, {self.source}"


@dataclass(frozen=True)
class Signal:
    """What may predict a truth.

    Attributes:
        source: the run that it is taken from.
        name: what it is.
        epoch: when it is taken.
        values: (seeds, configurations); higher is better.
        fitted_to: the only truth that it predicts; None: any.
    """

    source: Source
    name: str
    epoch: float
    values: Array
    fitted_to: str | None = None


class Measurements:
    """What has been measured, as arrays.

    Args:
        records: of all runs of the plan.
        plan: the plan.
        untrained: what an untrained student has of the metrics of `GUARDS`; empty: not known.
    """

    def __init__(self, records: Mapping[Key, Record], plan: Plan, untrained: Mapping[str, float]) -> None:
        self._records, self.plan, self._untrained = records, plan, untrained

    def values(self, source: Source, metric: str, epoch: float) -> Array | None:
        """Returns a metric, shape (seeds, configurations), turned so that higher is better.

        A run that diverged counts as the worst of the others. None where the metric is not measured there.
        """
        kind: Kind = "constant" if source != COSINE else "long cosine" if epoch == self.plan.long else "short cosine"
        weights = "averaged" if source == AVERAGED else "trained"
        found = np.full((self.plan.seeds, len(self.plan.configs)), np.nan)
        for seed, config in np.ndindex(*found.shape):
            record = self._records[config, seed, kind, epoch]
            value = record.get(weights, {}).get(metric)
            if isinstance(value, int | float):
                found[seed, config] = value
            elif record["status"] != "diverged":
                return None
        if np.isnan(found).all():
            return None
        goal = METRICS[metric].goal if metric in METRICS else "min"
        found *= 1 if goal == "max" else -1
        return np.where(np.isnan(found), np.nanmin(found), found)

    def seconds(self) -> dict[str, int]:
        """Returns what all runs together took to train, and to judge."""
        trained: dict[Key, float] = {}
        for (config, seed, run, _), record in sorted(self._records.items()):
            trained[config, seed, run, 0.0] = record["training_seconds"]  # since it began: the last point has all
        judged = sum(record["judging_seconds"] for record in self._records.values())
        return {"training": round(sum(trained.values())), "judging": round(judged)}

    def truths(self) -> list[Truth]:
        """Returns what the long runs come to."""
        found: list[Truth] = []
        for source in (COSINE, AVERAGED):
            for metric in TRUTHS:
                values = self.values(source, metric, self.plan.long)
                if values is not None:
                    found.append(Truth(source, metric, values.mean(0)))
        return found

    def signals(self) -> Iterator[Signal]:
        """Yields all signals: at the early points, and what the same metrics say at the end."""
        for source in SOURCES:
            for epoch in (*self.plan.early, float(self.plan.long)):
                yield from self._signals_at(source, epoch)

    def _signals_at(self, source: Source, epoch: float) -> Iterator[Signal]:
        names = (*LOSSES, *panel_metrics())
        plain = {name: values for name in names if (values := self.values(source, name, epoch)) is not None}
        for name, values in plain.items():
            yield Signal(source, name, epoch, values)
        panel = [name for name in plain if name not in LOSSES]
        ranks = {name: rankdata(plain[name], axis=1) for name in (LOSS, *panel)}
        for name in panel:
            yield Signal(source, f"{LOSS} + {name}, by ranks", epoch, ranks[LOSS] + ranks[name])
        error = self.values(source, f"{LOSS}_se", epoch)
        if error is not None:
            for name in panel:
                values = of_the_tied(plain[LOSS], np.abs(error), plain[name])
                yield Signal(source, f"{name}, of those tied in {LOSS}", epoch, values)
        for name in (name for name in GUARDS if name in self._untrained and name in plain):
            for share in GUARDS[name]:
                kept = plain[name] >= share * self._untrained[name]
                yield Signal(
                    source, f"{LOSS}, unless {name} < {share:g} of untrained", epoch, guarded(plain[LOSS], kept)
                )
        if len(panel) > 1:
            yield Signal(source, f"{LOSS} + panel, by ranks", epoch, np.sum([*ranks.values()], axis=0))
        if epoch == self.plan.long:
            return
        yield Signal(source, "freeze-thaw's prediction", epoch, self._predicted_ends(source, epoch))
        if panel:
            for truth in self.truths():
                yield Signal(source, "ridge, fitted", epoch, fitted([*plain.values()], truth.values), truth.name)

    def _predicted_ends(self, source: Source, epoch: float) -> Array:
        """Predicts the end of each loss curve, from the curves of all configurations up to here."""
        known = self.plan.curve(epoch)
        last = self.plan.short if source == COSINE else self.plan.long
        rungs = known if known[-1] == last else (*known, float(last))
        curves = [values for point in known if (values := self.values(source, LOSS, point)) is not None]
        return np.array([-predicted_end(-np.stack(seed, axis=1), rungs) for seed in zip(*curves, strict=True)])


def panel_metrics() -> list[str]:
    """Returns the metrics that stand beside the loss: those of probe points, without ends of intervals."""
    return [name for name, metric in computed("probe").items() if not metric.error_of and not name.endswith(BOUNDS)]


def of_the_tied(values: Array, errors: Array, metric: Array) -> Array:
    """Ranks by the metric those within a standard error of the best of their seed, before all others by their values.

    That is the one-standard-error rule. All have the shape (seeds, configurations).
    """
    best = values.argmax(axis=1)[:, None]
    tied = values >= np.take_along_axis(values - errors, best, axis=1)
    places = np.where(tied, rankdata(metric, axis=1) + values.shape[1], rankdata(values, axis=1))
    return np.asarray(places, dtype=np.float64)


def guarded(values: Array, kept: NDArray[np.bool_]) -> Array:
    """Puts values that are not kept below all others of their seed; both have the shape (seeds, configurations)."""
    spread = np.ptp(values, axis=1, keepdims=True)
    return np.where(kept, values, values - 2 * spread - 1)


def predicted_end(curves: Array, rungs: tuple[float, ...]) -> Array:
    """Predicts the ends of learning curves as freeze-thaw does.

    Args:
        curves: (configurations, points); lower is better.
        rungs: where they are known, and the end.

    Returns:
        (configurations,).
    """
    padded = np.full((len(curves), len(rungs)), np.nan)
    padded[:, : curves.shape[1]] = curves
    model = CurveModel(rungs)
    model.fit(padded)
    return model.predict(padded, np.full(len(curves), curves.shape[1] - 1))


def fitted(signals: list[Array], truth: Array) -> Array:
    """Predicts the truth of each configuration by a ridge regression on the standardised signals of all others.

    The penalty is chosen by cross-validation among the others. Where signals say nothing, such predictions run against
    the truth: the mean of the others is low where the one left out is high.

    Args:
        signals: (seeds, configurations) each.
        truth: (configurations,).

    Returns:
        (seeds, configurations).
    """
    seeds, configs = signals[0].shape
    rows = np.stack([values.ravel() for values in signals], axis=1)
    groups = np.tile(np.arange(configs), seeds)
    model = make_pipeline(StandardScaler(), RidgeCV(PENALTIES))
    predicted = cross_val_predict(model, rows, truth[groups], groups=groups, cv=LeaveOneGroupOut())
    return np.asarray(predicted, dtype=np.float64).reshape(seeds, configs)
