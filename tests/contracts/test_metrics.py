"""What every registered metric keeps; and that one which is registered reaches all that a search tells."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from analysis.run_directory.paths import FinalDirectory, RunDirectory
from salt_tune.report import leaderboard
from salt_tune.report import summary as summaries
from salt_tune.report.model_card import write_card
from salt_tune.space.objective import Objective
from salt_tune.ui.format import number
from tests.contracts.packages import install
from tests.salt_tune.made_trials import BASELINES, final_spec, make_report, make_space, make_trial
from tests.trainable.small import SMALL
from trainable.config import FIELD_NAMES
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.dataset import StoreDataset
from trainable.evaluate.answers import value_fields
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator, measure
from trainable.evaluate.panel_baselines import panel_baselines
from trainable.metrics import METRICS, computed, costs, fields_of, interval_fields, objectives, value_in
from trainable.model.flops import measure_model
from trainable.task import find_task
from trainable.train.training import Training
from trainable.trial.report import report_out_of_memory, train_and_report

MEDIAN = """
import numpy as np
from trainable.metrics import Metric

def median_loss(judged):
    return float(np.median(judged.clip_losses))

METRIC = Metric("min", "median held-out loss", compute="added_metric:median_loss", objective=True)
"""

NAMES = sorted(METRICS)


@pytest.fixture(scope="module")
def training(store: ClipStore) -> Iterator[Training]:
    made = Training(SMALL, store, device="cpu")
    yield made
    made.close()


@pytest.fixture(scope="module")
def evaluator(store: ClipStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evaluator]:
    baselines = tmp_path_factory.mktemp("run") / "baselines"
    made = Evaluator(
        store, EvaluationConfig(clips=8, panel_clips=32, folds=3, repeats=1, attentive_steps=1), baselines=baselines
    )
    yield made
    made.close()


def report_of(training: Training, evaluator: Evaluator, *, probe: bool = True) -> dict[str, Any]:
    size = measure_model(training.config, training.store.view, training.target_dim)
    return train_and_report(training, evaluator, training.step + 1, size, probe=probe)[0]


@pytest.fixture(scope="module")
def report(training: Training, evaluator: Evaluator) -> dict[str, Any]:
    return report_of(training, evaluator)


@pytest.mark.parametrize("name", [name for name in NAMES if METRICS[name].at != "final"])
def test_it_is_in_a_report_as_a_number(name: str, report: dict[str, Any]) -> None:
    assert all(field in report for field in fields_of(name))
    assert value_in(report, name) is not None


@pytest.mark.parametrize("name", NAMES)
def test_what_is_known_about_it_holds_together(name: str) -> None:
    metric = METRICS[name]
    assert metric.goal in ("min", "max")
    assert [other for other in METRICS.values() if other.label == metric.label] == [metric]
    assert set(metric.equal_in_all_trials) <= set(FIELD_NAMES)
    assert metric.at == "report" or metric.compute, "what the training reports is in every report"
    assert metric.error_of is None or metric.error_of in METRICS
    assert not set(metric.aliases) & METRICS.keys()
    assert not (metric.objective and metric.cost)


@pytest.mark.parametrize("name", sorted(computed("final")))
def test_it_is_measured_at_the_end_of_a_final_run_alone(
    name: str, report: dict[str, Any], training: Training, evaluator: Evaluator
) -> None:
    assert name not in report
    assert not METRICS[name].objective
    found = measure(evaluator.judge(training), "final")
    low, value, high = (found[field] for field in (interval_fields(name)[0], name, interval_fields(name)[1]))
    assert isinstance(low, float) and isinstance(value, float) and isinstance(high, float)
    assert low <= value <= high


@pytest.mark.parametrize("name", sorted(computed("probe")))
def test_it_is_not_computed_where_nothing_is_probed(name: str, training: Training, evaluator: Evaluator) -> None:
    assert name not in report_of(training, evaluator, probe=False)


@pytest.mark.parametrize("name", sorted(computed()))
def test_it_is_the_same_when_it_is_computed_again(name: str, training: Training, evaluator: Evaluator) -> None:
    first, again = (value_fields(name, METRICS[name].function(evaluator.judge(training))) for _ in range(2))
    assert first == again


@pytest.mark.parametrize("name", [name for name in NAMES if METRICS[name].interval and METRICS[name].at != "final"])
def test_its_interval_stands_beside_it(name: str, report: dict[str, Any]) -> None:
    low, high = (report[field] for field in interval_fields(name))
    assert low <= report[name] <= high


@pytest.mark.parametrize("name", [name for name in NAMES if METRICS[name].panel])
def test_baselines_have_it_too(name: str, training: Training, evaluator: Evaluator) -> None:
    at, device = METRICS[name].at, training.device
    beside = panel_baselines(evaluator.on, training.config, device, training.autocast, at).fields
    assert beside["untrained"][name] is not None
    assert at in ("probe", "final")


@pytest.mark.parametrize("name", sorted(computed("report")))
def test_a_trial_without_memory_has_none(name: str, training: Training) -> None:
    size = measure_model(training.config, training.store.view, training.target_dim)
    assert math.isnan(report_out_of_memory({}, training.device, size)[name])


@pytest.mark.parametrize("name", sorted(objectives()))
def test_a_search_can_rank_by_it(name: str, report: dict[str, Any]) -> None:
    objective = Objective.parse(name)
    worse = 0.1 if METRICS[name].goal == "min" else -0.1
    assert objective.score({**report, name: report[name] + worse}) > objective.score(report)
    assert objective.score({**report, name: math.nan}) == math.inf
    assert objective.needs_probe == (METRICS[name].at == "probe")
    assert all(Objective.parse(alias) == objective for alias in METRICS[name].aliases)


@pytest.mark.parametrize("name", sorted(costs()))
def test_a_search_can_set_it_against_its_objective(name: str) -> None:
    assert make_space(against=name, searcher="random", schedule={"epochs": 3, "scheduler": "asha"}).against == name


def test_a_metric_that_a_package_adds_reaches_report_summary_leaderboard_and_card(
    training: Training,
    evaluator: Evaluator,
    store: ClipStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(tmp_path / "site", "added_metric", "salt_tune.metrics", {"median_loss": "added_metric:METRIC"}, MEDIAN)
    monkeypatch.syspath_prepend(tmp_path / "site")
    report = report_of(training, evaluator)
    assert 0 < report["median_loss"] != report["val_loss"]

    space, run = make_space(objective="median_loss"), RunDirectory(tmp_path / "run")
    run.path.mkdir()
    made = make_trial("T0", {**make_report(3.0, report["val_loss"]), **report, "resource": 3.0}, space=space)
    written = summaries.write_summary(
        run, space, [made], store={}, baselines=BASELINES, seed=0, wall_seconds=1.0, over=True
    )
    (trial,) = written["trials"]
    assert trial["median_loss"] == trial["score"] == report["median_loss"]

    wide = Console(width=400, record=True)
    monkeypatch.setattr(leaderboard, "console", wide)
    leaderboard.print_summary(run, written)
    assert {"median", number(report["median_loss"])} <= set(wide.export_text().split())

    final = FinalDirectory(tmp_path / "final")
    final.path.mkdir()
    write_card(find_task("salt"), final_spec(final, training.config), trial, report, StoreDataset(store), BASELINES)
    assert "| median_loss |" in final.card.read_text()
