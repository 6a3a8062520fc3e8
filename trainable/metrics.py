"""The metrics: what trials report that is better when it is lower, or higher; all that is known about each.

To add one: a function of a `trainable.evaluate.judged.Judged` in a file of `trainable.evaluate`, and an entry here. It
is then in every report and summary, in the leaderboard and on the model card, and a search may rank by it.

Needs no torch: search and analysis of a space ask for goals and labels.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from trainable.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainable.evaluate.answers import Value

Goal = Literal["min", "max"]
When = Literal["report", "probe", "final"]


@dataclass(frozen=True)
class Metric:
    """What is known about a metric.

    Attributes:
        goal: whether lower or higher is better.
        label: what it is, for people.
        at: computed for every report, at probe points only, where it takes a pass over whole clips, or once, at the end
            of a final run, where it is dearer still.
        compute: "module:function" of a `Judged`, which gives a number, the answers that it is the accuracy of, or None
            where there is none; None: the training reports it by itself.
        interval: it is a mean with a 95% interval, whose ends stand in the fields of `interval_fields`.
        panel: it is computed from frozen features alone, so that baselines have it too.
        needs_labels: it is None where clips have no two classes that can be told.
        objective: a search may rank by it.
        cost: a search may set it `against` the objective.
        fields: of a report, whose sum it is; empty: the field of its own name.
        equal_in_all_trials: hyperparameters that trials must share for it to measure the same.
        error_of: the metric whose uncertainty it is; a table shows it as "+-" behind that one.
        aliases: other names that a search-space file may give it.
        keep: a table that is too wide for its terminal loses the columns of the lowest first; None: never.
    """

    goal: Goal
    label: str
    at: When = "report"
    compute: str | None = None
    interval: bool = False
    panel: bool = False
    needs_labels: bool = False
    objective: bool = False
    cost: bool = False
    fields: tuple[str, ...] = ()
    equal_in_all_trials: tuple[str, ...] = ()
    error_of: str | None = None
    aliases: tuple[str, ...] = ()
    keep: int | None = 0

    @cached_property
    def function(self) -> "Callable[[Any], Value]":
        """What `compute` names.

        Raises:
            ValueError: the training reports it by itself.
        """
        if self.compute is None:
            raise ValueError(f"{self.label}: is not computed from a judged model")
        module, _, attribute = self.compute.partition(":")
        return cast("Callable[[Any], Value]", getattr(import_module(module), attribute))


METRICS: Final[Registry[Metric]] = Registry(
    "metric",
    {
        "val_loss": Metric(
            "min", "held-out loss", compute="trainable.evaluate.held_out_loss:val_loss", objective=True, keep=None
        ),
        "val_loss_se": Metric(
            "min",
            "standard error of the held-out loss",
            compute="trainable.evaluate.held_out_loss:val_loss_se",
            error_of="val_loss",
            keep=2,
        ),
        "val_r2": Metric(
            "max",
            "held-out explained variance",
            compute="trainable.evaluate.held_out_loss:val_r2",
            objective=True,
            keep=1,
        ),
        "probe_top1": Metric(
            "max",
            "linear-probe accuracy",
            at="probe",
            compute="trainable.evaluate.linear_probe:probe_top1",
            interval=True,
            panel=True,
            needs_labels=True,
            objective=True,
            keep=3,
        ),
        "attentive_top1": Metric(
            "max",
            "attentive-probe accuracy",
            at="final",
            compute="trainable.evaluate.attentive_probe:attentive_top1",
            interval=True,
            panel=True,
            needs_labels=True,
            keep=4,
        ),
        "knn_top1": Metric(
            "max",
            "nearest-neighbour accuracy",
            at="probe",
            compute="trainable.evaluate.nearest_neighbours:knn_top1",
            interval=True,
            panel=True,
            needs_labels=True,
            objective=True,
        ),
        "order_top1": Metric(
            "max",
            "accuracy of telling forwards from backwards",
            at="probe",
            compute="trainable.evaluate.order_and_speed:order_top1",
            interval=True,
            panel=True,
            objective=True,
        ),
        "speed_top1": Metric(
            "max",
            "accuracy of telling every frame from every second one",
            at="probe",
            compute="trainable.evaluate.order_and_speed:speed_top1",
            interval=True,
            panel=True,
            objective=True,
        ),
        "retrieval_top1": Metric(
            "max",
            "accuracy of finding a clip's other half",
            at="probe",
            compute="trainable.evaluate.retrieval:retrieval_top1",
            interval=True,
            panel=True,
            objective=True,
        ),
        "effective_rank": Metric(
            "max",
            "effective rank of the features",
            at="probe",
            compute="trainable.evaluate.rank:effective_rank",
            panel=True,
        ),
        "lidar": Metric(
            "max", "rank of what tells clips apart", at="probe", compute="trainable.evaluate.rank:lidar", panel=True
        ),
        "above_untrained": Metric(
            "max",
            "accuracy less that of untrained encoders",
            at="probe",
            compute="trainable.evaluate.above_untrained:above_untrained",
            interval=True,
            keep=2,
        ),
        "train_loss": Metric(
            "min",
            "training loss",
            objective=True,
            equal_in_all_trials=("mask_ratio", "masking", "loss"),
            aliases=("loss",),
        ),
        "parameters": Metric(
            "min",
            "parameters of student and predictor",
            cost=True,
            fields=("student_parameters", "predictor_parameters"),
        ),
        "step_seconds": Metric("min", "seconds a step", cost=True),
    },
    group="salt_tune.metrics",
)


def computed(at: When | None = None, among: Mapping[str, Metric] = METRICS) -> dict[str, Metric]:
    """Returns the metrics that are computed from a judged model: all, or those of one kind of point."""
    return {name: metric for name, metric in among.items() if metric.compute and at in (None, metric.at)}


def objectives(among: Mapping[str, Metric] = METRICS) -> dict[str, Metric]:
    """Returns the metrics that a search may rank by."""
    return {name: metric for name, metric in among.items() if metric.objective}


def costs(among: Mapping[str, Metric] = METRICS) -> dict[str, Metric]:
    """Returns the metrics that a search may set against its objective."""
    return {name: metric for name, metric in among.items() if metric.cost}


def fields_of(name: str, among: Mapping[str, Metric] = METRICS) -> tuple[str, ...]:
    """Returns the fields of a report that a metric is the sum of.

    Raises:
        KeyError: there is no such metric.
    """
    return among[name].fields or (name,)


def interval_fields(name: str) -> tuple[str, str]:
    """Returns the fields of a report that have the lower and the upper end of a metric's interval, where it has one."""
    return f"{name}_low", f"{name}_high"


def value_in(report: Mapping[str, Any], name: str, among: Mapping[str, Metric] = METRICS) -> float | None:
    """Returns a metric's value in a report or in a trial's entry of a summary; None where it is missing or not finite.

    Raises:
        KeyError: there is no such metric.
    """
    values = [report.get(field) for field in fields_of(name, among)]
    if any(value is None or not math.isfinite(value) for value in values):
        return None
    return sum(cast("list[float]", values))
