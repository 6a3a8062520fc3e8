"""What trials are ranked by: a metric, a weighted pair, and what is refused because trials could not be compared."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salt_tune.space.objective import Objective
from salt_tune.space.space_file import load_space
from tests.salt_tune.space_files import Edit, content, put, refusal, write
from trainable.metrics import METRICS, objectives

REPORT = {"val_loss": 0.5, "val_r2": 0.25, "probe_top1": 0.75, "train_loss": 0.125, "epoch": 1.0}
PAIR = {"val_loss": 0.8, "probe_top1": 0.2}


@pytest.mark.parametrize(
    ("entry", "name", "mode", "value", "score"),
    [
        ("val_loss", "val_loss", "min", 0.5, 0.5),
        ("val_r2", "val_r2", "max", 0.25, -0.25),
        ("probe_top1", "probe_top1", "max", 0.75, -0.75),
        ("train_loss", "train_loss", "min", 0.125, 0.125),
        ("loss", "train_loss", "min", 0.125, 0.125),
        (PAIR, "0.8 val_loss - 0.2 probe_top1", "min", 0.25, 0.25),
        ({"val_loss": 1, "train_loss": 2}, "1 val_loss + 2 train_loss", "min", 0.75, 0.75),
        ({"val_r2": 1, "probe_top1": 1}, "- 1 val_r2 - 1 probe_top1", "min", -1.0, -1.0),
    ],
)
def test_value_and_score(entry: Any, name: str, mode: str, value: float, score: float) -> None:
    objective = Objective.parse(entry)
    assert (objective.name, objective.mode) == (name, mode)
    assert objective.value(REPORT) == pytest.approx(value)
    assert objective.score(REPORT) == pytest.approx(score)
    assert objective.needs_probe == ("probe" in name)
    assert Objective.parse(objective.plain()) == objective


@pytest.mark.parametrize("missing", [{}, {"probe_top1": None}, {"probe_top1": math.nan}, {"probe_top1": -math.inf}])
@pytest.mark.parametrize("entry", ["probe_top1", PAIR])
def test_what_is_missing_or_not_finite_is_lost(entry: Any, missing: dict[str, float | None]) -> None:
    report = {"val_loss": 0.5, **missing}
    assert Objective.parse(entry).value(report) is None
    assert Objective.parse(entry).score(report) == math.inf


@given(
    weights=st.dictionaries(st.sampled_from(sorted(objectives())), st.floats(1e-3, 1e3), min_size=2, max_size=2),
    worse=st.floats(1e-3, 1),
)
@settings(max_examples=60, deadline=None)
def test_a_report_that_is_worse_in_one_of_a_pair_scores_higher(weights: dict[str, float], worse: float) -> None:
    objective = Objective.parse(weights)
    for metric in objective.metrics:
        step = worse if METRICS[metric].goal == "min" else -worse
        report = {**dict.fromkeys(objectives(), 0.5), **REPORT}
        assert objective.score({**report, metric: report[metric] + step}) > objective.score(report)


MISTAKES: dict[str, tuple[Edit, list[str]]] = {
    "misspelt": (put("objective", "val_los"), ["objective = 'val_los'", "did you mean 'val_loss'"]),
    "like no other": (
        put("objective", "accuracy"),
        ["objective = 'accuracy'", "known are val_loss, val_r2, probe_top1"],
    ),
    "misspelt in a pair": (put("objective", {"val_loss": 1, "probe_top": 1}), ["objective = {", "'probe_top1'"]),
    "a pair of one": (put("objective", {"val_loss": 1}), ["objective = {'val_loss': 1}", "exactly two"]),
    "three": (put("objective", {"val_loss": 1, "val_r2": 1, "probe_top1": 1}), ["objective = {", "exactly two"]),
    "one twice": (put("objective", {"loss": 1, "train_loss": 1}), ["objective = {", "exactly two"]),
    "no weight": (put("objective", {"val_loss": 1, "probe_top1": 0}), ["probe_top1", "above 0"]),
    "a text for a weight": (put("objective", {"val_loss": "1", "probe_top1": 1}), ["val_loss", "above 0"]),
    "true for a weight": (put("objective", {"val_loss": True, "probe_top1": 1}), ["val_loss", "above 0"]),
    "a list": (put("objective", ["val_loss"]), ["objective = ['val_loss']"]),
    "nothing": (put("objective", None), ["objective = None"]),
}


@pytest.mark.parametrize(("edit", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_in_one_line(tmp_path: Path, edit: Edit, words: list[str]) -> None:
    message = refusal(write(tmp_path, edit(content())))
    for word in words:
        assert word in message


VARIED: dict[str, tuple[Edit, str]] = {
    "mask ratio": (put("parameters.mask_ratio", {"type": "uniform", "low": 0.5, "high": 0.9}), "mask_ratio"),
    "masking in a point": (put("start_from", [{"lr": 1e-3}, {"masking": "tube"}]), "masking"),
    "loss and mask ratio": (
        lambda space: put("start_from", [{"loss": "l1"}])(
            put("parameters.mask_ratio", {"type": "uniform", "low": 0.5, "high": 0.9})(space)
        ),
        "mask_ratio, loss",
    ),
}


@pytest.mark.parametrize("objective", ["train_loss", "loss", {"val_r2": 0.9, "train_loss": 0.1}], ids=str)
@pytest.mark.parametrize(("edit", "names"), VARIED.values(), ids=VARIED.keys())
def test_the_training_loss_is_refused_where_it_measures_different_things(
    tmp_path: Path, edit: Edit, names: str, objective: Any
) -> None:
    message = refusal(write(tmp_path, {**edit(content()), "objective": objective}))
    assert f"trials that differ in {names}; use val_loss" in message
    assert "objective = " in message


def test_the_training_loss_is_accepted_where_it_measures_the_same(tmp_path: Path) -> None:
    path = write(tmp_path, {**put("fixed.mask_ratio", 0.9)(content()), "objective": "train_loss"})
    assert load_space(str(path), {}).objective.metrics == ("train_loss",)


@pytest.mark.parametrize("scheduler", ["freeze_thaw", "median", "hyperband", "asha_stop"])
def test_a_second_objective_needs_a_schedule_that_can_rank_by_two(tmp_path: Path, scheduler: str) -> None:
    space = {**content(), "against": "parameters", "schedule": {"scheduler": scheduler}}
    message = refusal(write(tmp_path, space))
    assert "against = 'parameters'" in message
    assert f"(asha, none), not {scheduler}" in message


def test_a_second_objective_needs_a_searcher_that_can_rank_by_two(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, {**content(), "against": "step_seconds", "searcher": "gp"}))
    assert "against = 'step_seconds'" in message
    assert "(random, grid, sobol, tpe), not gp" in message


@pytest.mark.parametrize("scheduler", ["asha", "none"])
@pytest.mark.parametrize("searcher", ["random", "grid", "sobol", "tpe"])
def test_a_second_objective_is_accepted(tmp_path: Path, scheduler: str, searcher: str) -> None:
    entries = {"against": "step_seconds", "searcher": searcher, "schedule": {"scheduler": scheduler}}
    space = load_space(str(write(tmp_path, {**content(), **entries, "objective": PAIR})), {})
    assert (space.against, space.objective.needs_probe) == ("step_seconds", True)
    again = load_space(str(write(tmp_path, space.model_dump(mode="json"))), {})
    assert again == space
