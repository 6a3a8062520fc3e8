"""`Objective`: the number that the trials of a search are ranked by, one metric or a weighted pair."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainable.metrics import METRICS, Goal, Metric, objectives, value_in
from trainable.registry import nearest


@dataclass(frozen=True)
class Objective:
    """What trials are ranked by.

    Attributes:
        weights: metrics and their weights; a pair is the weighted sum, with signs turned so that lower is better.
        among: the metrics of the task.
    """

    weights: tuple[tuple[str, float], ...]
    among: Mapping[str, Metric] = field(default_factory=lambda: METRICS, repr=False, compare=False)

    @classmethod
    def parse(cls, entry: Any, among: Mapping[str, Metric] = METRICS) -> "Objective":
        """Reads an entry of a search-space file: the name of a metric, or a mapping of two metrics to weights.

        Args:
            entry: as it stands there.
            among: the metrics of the task.

        Raises:
            ValueError: an unknown metric, not two of them, or a weight that is not above 0.
        """
        if isinstance(entry, Objective):
            return entry
        if not isinstance(entry, Mapping):
            return cls(((_metric(entry, among), 1.0),), among)
        weights = {_metric(name, among): _weight(name, weight) for name, weight in entry.items()}
        if len(weights) != 2 or len(entry) != 2:
            raise ValueError("must be one metric, or a mapping of exactly two metrics to weights")
        return cls(tuple(weights.items()), among)

    def plain(self) -> str | dict[str, float]:
        """Returns it as it stands in a search-space file."""
        return dict(self.weights) if self.is_pair else self.metrics[0]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics it is made of."""
        return tuple(metric for metric, _ in self.weights)

    @property
    def is_pair(self) -> bool:
        """Whether it weighs two metrics."""
        return len(self.weights) > 1

    @property
    def name(self) -> str:
        """For headings: "val_loss", or the sum that is ranked by, "0.8 val_loss - 0.2 probe_top1"."""
        if not self.is_pair:
            return self.metrics[0]
        signs = {"min": "+", "max": "-"}
        terms = [f"{signs[self.among[metric].goal]} {weight:g} {metric}" for metric, weight in self.weights]
        return " ".join(terms).removeprefix("+ ")

    @property
    def mode(self) -> Goal:
        """Whether a lower or a higher `value` is better; a pair is always "min"."""
        return "min" if self.is_pair else self.among[self.metrics[0]].goal

    @property
    def needs_probe(self) -> bool:
        """Whether it needs a metric that is computed at probe points only."""
        return any(self.among[metric].at == "probe" for metric in self.metrics)

    def value(self, report: Mapping[str, Any]) -> float | None:
        """Returns the metric as it was reported, or the pair's sum; None where a metric is missing or not finite."""
        score = self.score(report)
        if not math.isfinite(score):
            return None
        return score if self.mode == "min" else -score

    def score(self, report: Mapping[str, Any]) -> float:
        """Returns the number to rank by: lower is better, and infinite where a metric is missing or not finite."""
        total = 0.0
        for metric, weight in self.weights:
            value = value_in(report, metric, self.among)
            if value is None:
                return math.inf
            total += weight * (float(value) if self.among[metric].goal == "min" else -float(value))
        return total


def _metric(name: Any, among: Mapping[str, Metric]) -> str:
    known = objectives(among)
    aliases = {alias: metric for metric, facts in known.items() for alias in facts.aliases}
    metric = aliases.get(str(name), str(name))
    if metric not in known:
        raise ValueError(f"{name!r} is no metric; {nearest(metric, tuple(known))}")
    return metric


def _weight(name: Any, weight: Any) -> float:
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
        raise ValueError(f"the weight of {name} must be a number above 0")
    return float(weight)
