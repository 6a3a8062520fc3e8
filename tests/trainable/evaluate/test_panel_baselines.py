"""Baselines stand beside a trial: measured once, kept, of the trial's own architecture; and the verdict follows."""

import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainable.conftest import MakeTraining
from tests.trainable.evaluate.probing import labelled
from trainable.data.store.clip_store import ClipStore
from trainable.errors import UserError
from trainable.evaluate import panel_baselines
from trainable.evaluate.answers import read_answers
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator, measure
from trainable.evaluate.panel_baselines import baselines_beside

CONFIG = EvaluationConfig(clips=8, panel_clips=32, repeats=1)
ACCURACIES = ("probe_top1", "knn_top1", "order_top1", "speed_top1", "retrieval_top1")


@pytest.fixture
def evaluator(store: ClipStore, tmp_path: Path) -> Iterator[Evaluator]:
    made = Evaluator(store, CONFIG, baselines=tmp_path / "baselines")
    yield made
    made.close()


def test_every_baseline_has_what_can_be_measured_of_it(evaluator: Evaluator, make_training: MakeTraining) -> None:
    fields = baselines_beside(evaluator.judge(make_training())).fields
    assert list(fields) == ["chance", "untrained", "pixels", "teacher"]
    assert fields["chance"]["order_top1"] == fields["chance"]["speed_top1"] == 0.5
    assert fields["chance"]["retrieval_top1"] == pytest.approx(1 / 4)
    measured = {name: {metric for metric in ACCURACIES if found[metric] is not None} for name, found in fields.items()}
    assert measured["chance"] == measured["untrained"] == measured["pixels"] == {*ACCURACIES}
    assert measured["teacher"] == {"probe_top1", "knn_top1"}
    for found in (fields["untrained"], fields["pixels"], fields["teacher"]):
        low, value, high = (found[f"probe_top1{end}"] for end in ("_low", "", "_high"))
        assert low is not None and value is not None and high is not None
        assert low <= value <= high
        assert found["effective_rank"] is not None
    assert fields["untrained"]["lidar"] is not None


def test_they_are_measured_once_and_read_by_others(
    evaluator: Evaluator, make_training: MakeTraining, store: ClipStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = baselines_beside(evaluator.judge(make_training()))
    (file,) = (tmp_path / "baselines").glob("*.json")
    content = json.loads(file.read_bytes())
    assert content["baselines"] == first.fields
    assert content["architecture"]["student_dim"] == 64
    kept = sorted(path.name for path in file.with_suffix("").iterdir())
    assert kept == ["pixels.parquet", "teacher.parquet", *(f"untrained-{seed}.parquet" for seed in range(3))]
    panel = evaluator.on.panel
    teacher = read_answers(file.with_suffix("") / "teacher.parquet", panel.ids)
    assert set(teacher) == {"probe_top1", "knn_top1"}
    assert teacher["probe_top1"].labels.tolist() == panel.labels[teacher["probe_top1"].clips].tolist()

    monkeypatch.setattr(panel_baselines, "measure_baselines", lambda *_: pytest.fail("measured again"))
    assert baselines_beside(evaluator.judge(make_training(lr=1.0))) is first
    other = Evaluator(store, CONFIG, baselines=tmp_path / "baselines")
    again = baselines_beside(other.judge(make_training(predictor_depth=2)))
    other.close()
    assert again.fields == first.fields
    for one, same in zip(first.untrained, again.untrained, strict=True):
        assert [answers.accuracies.tolist() for answers in one.values()] == [
            answers.accuracies.tolist() for answers in same.values()
        ]


def test_another_architecture_and_a_damaged_file_are_measured(
    evaluator: Evaluator, make_training: MakeTraining, store: ClipStore, tmp_path: Path
) -> None:
    first = baselines_beside(evaluator.judge(make_training()))
    (file,) = (tmp_path / "baselines").glob("*.json")
    deeper = baselines_beside(evaluator.judge(make_training(student_depth=2)))
    assert len([*(tmp_path / "baselines").glob("*.json")]) == 2
    assert deeper.fields["untrained"] != first.fields["untrained"]
    assert deeper.fields["teacher"] == first.fields["teacher"]
    file.write_text("{")
    other = Evaluator(store, CONFIG, baselines=tmp_path / "baselines")
    assert baselines_beside(other.judge(make_training())).fields == first.fields
    other.close()
    assert json.loads(file.read_bytes())["baselines"] == first.fields


def test_a_full_disk_is_named(
    evaluator: Evaluator, make_training: MakeTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(panel_baselines, "write_answers", full)
    with pytest.raises(UserError, match=rf"^{tmp_path}/baselines/\w+\.json: No space left on device"):
        baselines_beside(evaluator.judge(make_training()))


def test_measuring_them_leaves_a_training_what_it_was(evaluator: Evaluator, make_training: MakeTraining) -> None:
    training = make_training()
    before = torch.get_rng_state()
    baselines_beside(evaluator.judge(training))
    assert torch.equal(torch.get_rng_state(), before)


def report(evaluator: Evaluator, training: Any) -> dict[str, Any]:
    return dict(measure(evaluator.judge(training), "probe"))


def test_an_untrained_student_is_not_better_than_untrained_ones(
    evaluator: Evaluator, make_training: MakeTraining
) -> None:
    found = report(evaluator, make_training(seed=7))
    assert found["verdict"] == "not shown to be better"
    assert found["above_untrained_low"] <= 0 <= found["above_untrained_high"]
    untrained = baselines_beside(evaluator.judge(make_training(seed=7))).fields["untrained"]["probe_top1"]
    assert found["above_untrained"] == pytest.approx(found["probe_top1"] - (untrained or 0.0))


def test_a_student_that_sees_nothing_any_more_has_collapsed(evaluator: Evaluator, make_training: MakeTraining) -> None:
    training = make_training()
    with torch.no_grad():
        training.model.student.norm.weight.zero_()
    found = report(evaluator, training)
    assert (found["effective_rank"], found["lidar"]) == (0.0, 0.0)
    assert found["verdict"] == "collapsed"


def test_without_labels_order_and_speed_decide(store: ClipStore, make_training: MakeTraining, tmp_path: Path) -> None:
    evaluator = Evaluator(labelled(store, [0] * 32, [0] * 16), CONFIG, baselines=tmp_path)
    judged = evaluator.judge(make_training())
    found, untrained = measure(judged, "probe"), baselines_beside(judged).fields["untrained"]
    evaluator.close()
    assert found["probe_top1"] is found["knn_top1"] is None
    own, beside = (np.mean([each[name] for name in ("order_top1", "speed_top1")]) for each in (found, untrained))
    assert found["above_untrained"] == pytest.approx(own - beside)
    assert found["verdict"] is not None


def test_nothing_stands_beside_a_model_where_there_is_no_folder(store: ClipStore, make_training: MakeTraining) -> None:
    evaluator = Evaluator(store, CONFIG)
    found = report(evaluator, make_training())
    evaluator.close()
    assert found["verdict"] is found["above_untrained"] is found["above_untrained_low"] is None
    assert found["probe_top1"] is not None
