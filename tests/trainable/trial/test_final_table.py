"""How good a promoted encoder is: every row on the same clips, what follows, and what an interruption leaves."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.trainable.conftest import MakeTraining
from tests.trainable.evaluate.probing import labelled
from tests.trainable.small import SMALL
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.dataset import StoreDataset
from trainable.data.video.view import View
from trainable.errors import UserError
from trainable.evaluate import attentive_probe
from trainable.evaluate.attentive_heads import fit_and_tell
from trainable.evaluate.config import EvaluationConfig
from trainable.metrics import METRICS, interval_fields
from trainable.model.encoder import save_encoder
from trainable.model.student import Student
from trainable.task import find_task
from trainable.train.checkpoint import save_checkpoint
from trainable.worker import Beside, FinalSpec, FinalTable

EVALUATION = EvaluationConfig(clips=8, panel_clips=32, repeats=1, attentive_steps=1)
LAST = {"val_loss": 0.5, "val_loss_se": 0.01}
ACCURACIES = {name for name, metric in METRICS.items() if metric.panel and metric.interval}
LABELLED = {name for name, metric in METRICS.items() if metric.needs_labels}


@pytest.fixture
def spec(store: ClipStore, make_training: MakeTraining, tmp_path: Path) -> FinalSpec:
    """A promoted model with random weights."""
    folder = tmp_path / "final"
    folder.mkdir()
    training = make_training(seed=5)
    save_encoder(folder, training.model.student, training.config, store.view, {})
    return FinalSpec(training.config.to_dict(), EVALUATION.to_dict(), 1, folder, 1, {}, tmp_path / "baselines")


@pytest.fixture
def beside(make_training: MakeTraining, tmp_path: Path) -> Beside:
    """The trial that it comes from."""
    training, checkpoint = make_training(seed=6, ema=0.5), tmp_path / "T0.safetensors"
    save_checkpoint(checkpoint, training)
    trial = {"config": training.config.to_dict(), "val_loss": 0.6, "val_loss_se": 0.02}
    trial |= {"probe_top1": 0.25, "probe_top1_low": 0.2, "probe_top1_high": 0.3}
    return Beside(trial, checkpoint, tmp_path / "answers.parquet")


def evaluate(spec: FinalSpec, beside: Beside, store: ClipStore, told: list[str] | None = None) -> FinalTable:
    """The table, as a file has it; `told` gets what is said meanwhile."""
    said = [] if told is None else told
    table = find_task("salt").evaluate_final(spec, beside, LAST, StoreDataset(store), said.append)
    assert table is not None
    return dict(json.loads(json.dumps(table, allow_nan=False)))


def test_every_row_has_what_can_be_measured_of_it(spec: FinalSpec, beside: Beside, store: ClipStore) -> None:
    told: list[str] = []
    table = evaluate(spec, beside, store, told)
    assert [line.split(",")[0].strip() for line in told[1:]] == [
        "the model",
        "the search's trial",
        "untrained students",
    ]
    rows = table["rows"]
    assert [*rows] == ["model", "trial", "untrained", "teacher", "pixels", "chance"]
    measured = {name: {each for each in ACCURACIES if row.get(each) is not None} for name, row in rows.items()}
    assert measured["model"] == measured["trial"] == measured["untrained"] == measured["chance"] == ACCURACIES
    assert measured["teacher"] == LABELLED
    assert measured["pixels"] == ACCURACIES - {"attentive_top1"}
    assert table["columns"][:2] == ["val_loss", "attentive_top1"] and {*table["columns"]} >= ACCURACIES
    for name in ("model", "trial", "untrained"):
        assert rows[name]["effective_rank"] > 0 and rows[name]["lidar"] > 0
        for metric in ACCURACIES:
            low, high = (rows[name][end] for end in interval_fields(metric))
            assert low <= rows[name][metric] <= high
    assert (rows["model"]["val_loss"], rows["trial"]["val_loss"]) == (0.5, 0.6)
    assert rows["model"]["val_loss_low"] == pytest.approx(0.5 - 2.365 * 0.01, abs=1e-4)  # Student's, of 8 clips
    assert rows["untrained"].get("val_loss") is None
    assert table["left_out"] == table["notes"] == {}


def test_differences_are_paired_and_the_attentive_probe_decides(
    spec: FinalSpec, beside: Beside, store: ClipStore
) -> None:
    table = evaluate(spec, beside, store)
    rows = table["rows"]
    assert {*table["differences"]} == {*table["verdict"]} == {"untrained", "trial"}
    for rival, found in table["differences"].items():
        assert {*found} == ACCURACIES
        for metric, each in found.items():
            assert each["mean"] == pytest.approx(rows["model"][metric] - rows[rival][metric])
            assert each["low"] <= each["mean"] <= each["high"]
    verdict = table["verdict"]["untrained"]
    assert verdict["metrics"] == ["attentive_top1"]
    assert verdict["mean"] == table["differences"]["untrained"]["attentive_top1"]["mean"]


def test_the_same_weights_are_not_shown_to_be_better(spec: FinalSpec, beside: Beside, store: ClipStore) -> None:
    other = Path(shutil.copytree(spec.folder, spec.folder.parent / "other"))
    compared = Beside(beside.trial, beside.checkpoint, beside.answers, other)
    find_task("salt").check_against(other, StoreDataset(store))
    table = evaluate(spec, compared, store)
    assert [*table["rows"]][:3] == ["model", "trial", "against"]
    against = table["verdict"]["against"]
    assert against["low"] == against["mean"] == against["high"] == 0.0
    assert table["against"] == str(other)


def test_what_was_measured_before_an_interruption_is_not_measured_again(
    spec: FinalSpec, beside: Beside, store: ClipStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = evaluate(spec, beside, store)
    shutil.rmtree(spec.folder / "evaluation")
    shutil.rmtree(spec.baselines or "")
    passes = [0]

    def interrupted(*given: Any, **named: Any) -> Any:
        passes[0] += 1
        if passes[0] == 2:
            raise KeyboardInterrupt
        return fit_and_tell(*given, **named)

    monkeypatch.setattr(attentive_probe, "fit_and_tell", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluate(spec, beside, store)
    assert sorted(path.name for path in (spec.folder / "evaluation").iterdir()) == ["model.json", "model.parquet"]
    assert evaluate(spec, beside, store) == straight
    assert passes[0] == 7  # the model and, once it was interrupted, the trial, three untrained students, the teacher
    assert evaluate(spec, beside, store) == straight
    assert passes[0] == 7


def test_another_model_in_the_same_folder_is_measured(
    spec: FinalSpec, beside: Beside, store: ClipStore, make_training: MakeTraining
) -> None:
    first = evaluate(spec, beside, store)["rows"]["model"]
    training = make_training(seed=8)
    save_encoder(spec.folder, training.model.student, training.config, store.view, {})
    assert evaluate(spec, beside, store)["rows"]["model"] != first


def test_of_a_trial_without_its_checkpoint_stands_what_the_search_measured(
    spec: FinalSpec, beside: Beside, store: ClipStore
) -> None:
    beside.checkpoint.unlink()
    table = evaluate(spec, beside, store)
    assert table["rows"]["trial"]["probe_top1"] == 0.25
    assert table["rows"]["trial"]["attentive_top1"] is None
    assert table["notes"] == {"trial": "as the search measured it: its checkpoint is gone"}
    assert table["verdict"]["trial"] is None and table["verdict"]["untrained"] is not None
    beside.checkpoint.write_bytes(b"damaged")
    assert evaluate(spec, beside, store) == table


def test_its_answers_in_the_search_are_compared_instead(spec: FinalSpec, beside: Beside, store: ClipStore) -> None:
    measured = evaluate(spec, beside, store)
    shutil.copyfile(spec.folder / "evaluation" / "trial.parquet", beside.answers)
    beside.checkpoint.unlink()
    assert evaluate(spec, beside, store)["differences"] == measured["differences"]


NO_CLASSES, NO_FOLDS = "it needs two classes, each with clips of two groups", "the clips allow no fold"


@pytest.mark.parametrize(
    ("labels", "left_out", "decides"),
    [
        ([0] * 48, dict.fromkeys(LABELLED, NO_CLASSES), ["order_top1", "speed_top1"]),
        ([0, 0, *[1] * 46], dict.fromkeys(("order_top1", "speed_top1"), NO_FOLDS), ["attentive_top1"]),
        ([*range(48)], {**dict.fromkeys(ACCURACIES, NO_FOLDS), **dict.fromkeys(LABELLED, NO_CLASSES)}, None),
    ],
    ids=["no classes", "a class of two clips", "a class a clip"],
)
def test_columns_that_cannot_be_measured_are_left_out_and_why_is_said(
    spec: FinalSpec,
    beside: Beside,
    store: ClipStore,
    labels: list[int],
    left_out: dict[str, str],
    decides: list[str] | None,
) -> None:
    both = [labels[16:], labels[:16]]  # the two clips of a class are held out, and so of the panel
    table = evaluate(spec, beside, labelled(store, *both))
    assert table["left_out"] == left_out
    assert not {*table["columns"]} & left_out.keys()
    verdict = table["verdict"]["untrained"]
    assert (verdict and verdict["metrics"]) == decides


def test_a_model_that_cannot_be_compared_is_refused(spec: FinalSpec, store: ClipStore, tmp_path: Path) -> None:
    task, data = find_task("salt"), StoreDataset(store)
    with pytest.raises(UserError, match=rf"^--against = {tmp_path}/none: no encoder that can be loaded"):
        task.check_against(tmp_path / "none", data)
    other = tmp_path / "other"
    other.mkdir()
    view = View(16, 32, 8, 2)
    save_encoder(other, Student(SMALL, view), SMALL, view, {})
    with pytest.raises(UserError, match=rf"^--against = {other}: it takes clips of frames = 16, and the store has 8"):
        task.check_against(other, data)
