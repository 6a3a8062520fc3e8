"""All tasks alike, those of the registry and the toy: what a search asks, and what a worker and a final training give.

A task of the registry is tested by being there; its small configuration and its data stand in `SMALL`.
"""

import json
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from salt_tune.report.model_card import code
from tests.toy_task import TOY
from trainable.budget import Budget
from trainable.errors import ConfigError
from trainable.metrics import Metric, computed, objectives
from trainable.registry import TASKS
from trainable.task import Size, Task, find_task
from trainable.worker import Config, Dataset, FinalSpec, RunSpec, TrialRun, TrialSpec, Worker

MAE = "examples.another_task.mae:MaskedAutoencoder"
NAMES = (*TASKS, TOY, MAE)

SMALL: dict[str, dict[str, Any]] = {
    "salt": {
        "student": "vit_tiny_patch16_224",
        "student_dim": 12,
        "student_heads": 3,
        "student_depth": 1,
        "predictor_dim": 64,
        "predictor_depth": 1,
        "batch_size": 16,
    },
    TOY: {},
    MAE: {"dim": 12, "heads": 2, "depth": 1, "batch_size": 16},
}
POINTS = [0.5, 1.0, 2.0]

# What depends on the clock or on the process.
CLOCKED = {"clips_per_second", "waiting_share", "computing_share", "evaluating_share", "training_seconds",
           "step_seconds", "peak_rss_gb", "time", "began"}  # fmt: skip


@pytest.fixture(params=NAMES, ids=lambda name: name.rpartition(":")[2])
def task(request: pytest.FixtureRequest) -> Task:
    """Each of them."""
    return find_task(request.param)


@pytest.fixture
def data(task: Task, store_path: Path) -> Dataset:
    return task.open_data(store_path)


@pytest.fixture
def config(task: Task) -> Config:
    return task.config({**SMALL[task.name], "epochs": 2, "seed": 3})


@pytest.fixture
def run(task: Task, store_path: Path, tmp_path: Path) -> RunSpec:
    return RunSpec(
        task=task.name,
        data=str(store_path),
        evaluation=task.evaluation({"clips": 8}),
        budget=Budget("epoch", 2.0, POINTS, [1.0, 2.0]),
        checkpoints=str(tmp_path / "checkpoints"),
        clip_losses=str(tmp_path / "clip_losses" / "{trial}" / "resource-{resource:.4f}.parquet"),
        threads=1,
        device="cpu",
    )


@pytest.fixture
def worker(task: Task, run: RunSpec) -> Iterator[Worker]:
    opened = task.open_worker(run)
    yield opened
    opened.close()


def told(report: dict[str, Any]) -> dict[str, Any]:
    """What does not depend on the clock."""
    return {name: value for name, value in report.items() if name not in CLOCKED}


def reports_of(trial: TrialRun, count: int = 99) -> list[dict[str, Any]]:
    """Its next reports, as many as there are."""
    reports: list[dict[str, Any]] = []
    while len(reports) < count and (not reports or reports[-1]["status"] == "running"):
        reports.append(trial.next_report())
    trial.close()
    return reports


def test_it_is_made_by_its_name(task: Task) -> None:
    assert find_task(task.name) is task
    assert RunSpec.from_dict(json.loads(json.dumps({"task": task.name, "data": "x", "evaluation": {}, "threads": 1,
                                                    "budget": {"kind": "epoch", "full": 1.0, "points": [1.0]},
                                                    "checkpoints": "c", "clip_losses": "l", "device": "cpu"}))
                             ).task == task.name  # fmt: skip


def test_its_metrics_have_what_reports_show(task: Task) -> None:
    assert all(isinstance(metric, Metric) for metric in task.metrics.values())
    assert task.metrics["val_loss"].goal == "min"
    assert {"val_loss"} <= objectives(task.metrics).keys() & computed(among=task.metrics).keys()
    for metric in task.metrics.values():
        assert metric.error_of is None or metric.error_of in task.metrics


def test_its_hyperparameters_are_known(task: Task) -> None:
    assert {"epochs", "seed"} <= task.defaults.keys()
    named = {*task.built_from, *task.sized_by, *(name for names in task.checked_together for name in names)}
    assert named <= task.defaults.keys()


def test_a_configuration_has_all_of_them_and_is_itself_again(task: Task, config: Config) -> None:
    assert config.keys() == task.defaults.keys()
    assert json.loads(json.dumps(config)) == config
    assert task.config(config) == config
    assert task.config({"epochs": 0.5})["epochs"] == 0.5


def test_an_unknown_hyperparameter_is_told_the_nearest(task: Task) -> None:
    with pytest.raises(ConfigError, match=r"^seeds = 1: is no hyperparameter; did you mean 'seed'\?$"):
        task.config({"seeds": 1})
    with pytest.raises(ConfigError, match=r"^seed = 'x': must be a whole number$"):
        task.config({"seed": "x"})


def test_an_evaluation_has_all_entries(task: Task) -> None:
    evaluation = task.evaluation({"clips": 7})
    assert evaluation.keys() == task.evaluation_defaults.keys()
    assert evaluation["clips"] == 7 and task.evaluation(evaluation) == evaluation
    with pytest.raises(ConfigError, match=r"^clip = 7: unknown entry; did you mean 'clips'\?$"):
        task.evaluation({"clip": 7})


def test_its_data_are_known_again(task: Task, data: Dataset, store_path: Path) -> None:
    facts = data.facts()
    assert json.loads(json.dumps(facts)) == facts == task.open_data(store_path).facts()
    assert facts["path"] == str(store_path) and set(task.same_data) <= facts.keys()
    assert data.train_size > 0 and len(set(data.held_out)) == len(data.held_out) > 0
    assert task.judged_clips(task.evaluation({"clips": 3}), data) == 3
    assert task.judged_clips(task.evaluation({"clips": 10**6}), data) == len(data.held_out)


def test_what_fits_the_data_is_let_through(task: Task, data: Dataset, config: Config) -> None:
    task.check(config, data)
    task.check_evaluation(task.evaluation({}), data)
    assert task.check_models([config, config]) is None


def test_its_baselines_are_losses(task: Task, data: Dataset) -> None:
    baselines = task.baselines(task.evaluation({"clips": 8}), data)
    assert all(math.isfinite(loss) and loss > 0 for loss in baselines.values())
    assert task.baseline_labels.keys() <= baselines.keys()


def test_the_largest_models_are_among_those_asked_about(task: Task, data: Dataset, config: Config) -> None:
    sizes = [name for name in task.sized_by if isinstance(config[name], int)]
    larger = task.config({**config, sizes[-1]: 2 * config[sizes[-1]]})
    largest = task.largest([config, larger])
    assert larger in largest and all(each in (config, larger) for each in largest)
    small, large = (task.size(each, data.geometry) for each in (config, larger))
    assert isinstance(small, Size) and 0 < small.checkpoint_bytes < large.checkpoint_bytes


def test_a_trial_reports_each_point_once_and_leaves_a_checkpoint(
    task: Task, worker: Worker, run: RunSpec, data: Dataset, config: Config
) -> None:
    reports = reports_of(worker.start(TrialSpec("T0", config)))
    assert [report["resource"] for report in reports] == POINTS
    assert [report["status"] for report in reports] == ["running", "running", "complete"]
    assert all(report["epoch"] == report["resource"] for report in reports)
    for report in reports:
        assert math.isfinite(report["val_loss"]) and report["training_seconds"] >= 0
    shown = {name for name, metric in computed(among=task.metrics).items() if metric.at == "report"}
    assert shown <= reports[0].keys()
    assert run.checkpoint("T0").stat().st_size <= task.size(config, data.geometry).checkpoint_bytes


def test_killed_anywhere_it_comes_to_the_same(worker: Worker, run: RunSpec, config: Config) -> None:
    straight = [told(report) for report in reports_of(worker.start(TrialSpec("T0", config)))]
    first = reports_of(worker.start(TrialSpec("T1", config)), 1)
    again = reports_of(worker.start(TrialSpec("T1", config)), 1)
    assert first == again, "the search had not heard of it"
    rest = reports_of(worker.start(TrialSpec("T1", config, known=POINTS[0])))
    assert [told(report) for report in (*first, *rest)] == straight


def test_a_configuration_that_does_not_fit_is_an_error_of_its_first_report(worker: Worker, config: Config) -> None:
    trial = worker.start(TrialSpec("T0", {**config, "seed": "x"}))
    with pytest.raises(ConfigError, match=r"^seed = 'x': "):
        trial.next_report()
    trial.close()


def test_a_final_training_ends_with_a_model_and_goes_on_after_a_stop(
    task: Task, data: Dataset, config: Config, tmp_path: Path
) -> None:
    provenance = {"run": "run", "trial": "T0", "store": data.path.name}
    losses: dict[str, dict[float, float]] = {}
    for name, stops in (("straight", False), ("stopped", True)):
        spec = FinalSpec(config, task.evaluation({"clips": 8}), 1, tmp_path / name, 1, provenance)
        spec.folder.mkdir()
        found: dict[float, float] = {}
        last = None
        while last is None:
            stop, final = threading.Event(), task.open_final(spec, data)

            def on_report(
                report: dict[str, Any],
                found: dict[float, float] = found,
                stop: threading.Event = stop,
                stops: bool = stops,
            ) -> None:
                if stops and not found:
                    stop.set()
                assert found.setdefault(report["epoch"], report["val_loss"]) == report["val_loss"]

            last = final.train(on_report, stop, lambda _: None)
            final.close()
        losses[name] = found
        content = json.loads((spec.folder / "config.json").read_text())
        assert content["config"] == config
        assert content["provenance"].items() >= provenance.items()
        card = task.card(spec, last, data, code)
        for file in card.files.split(", "):
            assert (spec.folder / file).exists()
    assert losses["straight"] == losses["stopped"] and [*losses["straight"]] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("salz", r"^task = 'salz': did you mean 'salt'\?$"),
        (None, r"^task = None: known are salt$"),
        ("no.such:Class", "^task = 'no.such:Class': cannot be loaded: No module named 'no'$"),
        ("tests.toy_task:Nothing", "cannot be loaded: module 'tests.toy_task' has no attribute 'Nothing'$"),
        ("tests.toy_task:ToyData", "is no class with the base trainable.task.Task$"),
        ("trainable.store_task:StoreTask", "lacks defaults, metrics, open_worker, size; see trainable.task.Task$"),
        (":", "cannot be loaded: "),
    ],
)
def test_what_is_no_task_is_told(name: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        find_task(name)
