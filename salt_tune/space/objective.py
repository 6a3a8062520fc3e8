"""`Objective`: the number that the trials of a search are ranked by, one metric or a weighted pair."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trainable.registry import nearest

Mode = Literal["min", "max"]
METRIC_MODES: dict[str, Mode] = {"val_loss": "min", "val_r2": "max", "probe_top1": "max", "train_loss": "min"}
SHORT_NAMES = {"loss": "train_loss"}

# What two trials must share for their training losses to measure the same.
TRAIN_LOSS_DEPENDS_ON = ("mask_ratio", "masking", "loss")


@dataclass(frozen=True)
class Objective:
    """What trials are ranked by.

    Attributes:
        weights: metrics and their weights; a pair is the weighted sum, with signs turned so that lower is better.
    """

    weights: tuple[tuple[str, float], ...]

    @classmethod
    def parse(cls, entry: Any) -> "Objective":
        """From an entry of a search-space file: the name of a metric, or a mapping of two metrics to weights.

        Raises:
            ValueError: an unknown metric, not two of them, or a weight that is not above 0.
        """
        if isinstance(entry, Objective):
            return entry
        if not isinstance(entry, Mapping):
            return cls(((_metric(entry), 1.0),))
        weights = {_metric(name): _weight(name, weight) for name, weight in entry.items()}
        if len(weights) != 2 or len(entry) != 2:
            raise ValueError("must be one metric, or a mapping of exactly two metrics to weights")
        return cls(tuple(weights.items()))

    def plain(self) -> str | dict[str, float]:
        """As it stands in a search-space file."""
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
        terms = [f"{signs[METRIC_MODES[metric]]} {weight:g} {metric}" for metric, weight in self.weights]
        return " ".join(terms).removeprefix("+ ")

    @property
    def mode(self) -> Mode:
        """Whether a lower or a higher `value` is better; a pair is always "min"."""
        return "min" if self.is_pair else METRIC_MODES[self.metrics[0]]

    @property
    def needs_probe(self) -> bool:
        """Whether it needs the linear probe, and so labels."""
        return "probe_top1" in self.metrics

    def value(self, report: Mapping[str, Any]) -> float | None:
        """The metric as it was reported, or the pair's sum; None where a metric is missing or not finite."""
        score = self.score(report)
        if not math.isfinite(score):
            return None
        return score if self.mode == "min" else -score

    def score(self, report: Mapping[str, Any]) -> float:
        """The number to rank by: lower is better, and infinite where a metric is missing or not finite."""
        total = 0.0
        for metric, weight in self.weights:
            value = report.get(metric)
            if value is None or not math.isfinite(value):
                return math.inf
            total += weight * (float(value) if METRIC_MODES[metric] == "min" else -float(value))
        return total


def _metric(name: Any) -> str:
    metric = SHORT_NAMES.get(str(name), str(name))
    if metric not in METRIC_MODES:
        raise ValueError(f"{name!r} is no metric; {nearest(metric, tuple(METRIC_MODES))}")
    return metric


def _weight(name: Any, weight: Any) -> float:
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
        raise ValueError(f"the weight of {name} must be a number above 0")
    return float(weight)
