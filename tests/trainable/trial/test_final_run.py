"""A final run can be stopped and started again as often as one likes."""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from tests.trainable.conftest import MakeTraining
from tests.trainable.small import SMALL, assert_equal_tensors, tensors_of
from trainable.data.store.clip_store import ClipStore
from trainable.errors import UserError
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator
from trainable.final_trial import probe_epochs
from trainable.model.encoder import load_encoder
from trainable.trial.final_run import SaltFinal, report_steps, run_to_end
from trainable.worker import FinalSpec

TOLD = ("epoch", "step", "status", "val_loss", "val_r2", "train_loss", "grad_norm", "lr")


@pytest.fixture
def evaluator(store: ClipStore) -> Iterator[Evaluator]:
    made = Evaluator(store, EvaluationConfig(clips=8))
    yield made
    made.close()


class Reports(list[dict[str, Any]]):
    """What was reported, without what a clock says."""

    def __call__(self, report: dict[str, Any]) -> None:
        """Takes one report."""
        self.append({name: report[name] for name in TOLD})


def test_a_run_reports_evenly_and_leaves_a_checkpoint(
    make_training: MakeTraining, evaluator: Evaluator, tmp_path: Path
) -> None:
    reports = Reports()
    last = run_to_end(make_training(), evaluator, tmp_path / "checkpoint", 2, reports)
    assert [report["step"] for report in reports] == [2, 4, 6, 8]
    assert last is not None
    assert last["status"] == "complete"
    assert last["val_loss"] == reports[-1]["val_loss"]
    assert (tmp_path / "checkpoint").is_file()


def test_features_are_probed_at_the_end_and_at_halves(
    make_training: MakeTraining, evaluator: Evaluator, tmp_path: Path
) -> None:
    probed: dict[float, bool] = {}
    training = make_training(epochs=5)
    run_to_end(
        training,
        evaluator,
        tmp_path / "checkpoint",
        2,
        lambda report: probed.update({report["epoch"]: "probe_top1" in report}),
    )
    assert [epoch for epoch, is_probed in probed.items() if is_probed] == [1, 2, 5]
    assert len(probed) == 10


@given(epochs=st.floats(0.1, 1e6))
def test_the_epochs_at_which_a_run_is_probed_lie_apart(epochs: float) -> None:
    at = probe_epochs(epochs)
    assert all(epoch.is_integer() and 1 <= epoch < epochs for epoch in at)
    assert all(later >= 1.5 * earlier for earlier, later in itertools.pairwise([*at, epochs]) if earlier > 1)
    assert bool(at) == (epochs >= 2)


@pytest.mark.parametrize("stops", [[1], [4], [3, 5, 7]])
def test_a_run_that_was_stopped_goes_on_to_the_same_end(
    make_training: MakeTraining, evaluator: Evaluator, tmp_path: Path, stops: list[int]
) -> None:
    straight, expected = make_training(), Reports()
    run_to_end(straight, evaluator, tmp_path / "straight", 1, expected)

    reports = Reports()
    for stop in stops:
        training = make_training()
        training.model.register_forward_hook(
            lambda model, *_, training=training, stop=stop: (
                training.stop.set() if model.training and training.step + 1 == stop else None
            )
        )
        result = run_to_end(training, evaluator, tmp_path / "checkpoint", 1, reports)
        assert training.step == stop
        assert result is None
    resumed = make_training()
    last = run_to_end(resumed, evaluator, tmp_path / "checkpoint", 1, reports)
    assert last is not None
    assert_equal_tensors(tensors_of(resumed), tensors_of(straight))
    assert reports == expected


def test_a_run_that_died_after_its_last_report_makes_it_again(
    make_training: MakeTraining, evaluator: Evaluator, tmp_path: Path
) -> None:
    first = run_to_end(make_training(), evaluator, tmp_path / "checkpoint", 1, Reports())
    reports = Reports()
    again = run_to_end(make_training(), evaluator, tmp_path / "checkpoint", 1, reports)
    assert first is not None
    assert again is not None
    assert (again["val_loss"], again["probe_top1"], again["status"]) == (
        first["val_loss"],
        first["probe_top1"],
        "complete",
    )
    assert [report["step"] for report in reports] == [8]
    assert math.isnan(again["train_loss"]), "nothing was trained"


def test_a_run_that_dies_in_a_report_goes_on_from_the_one_before(
    make_training: MakeTraining, evaluator: Evaluator, tmp_path: Path
) -> None:
    straight, expected = make_training(), Reports()
    run_to_end(straight, evaluator, tmp_path / "straight", 2, expected)

    def die(report: dict[str, Any]) -> None:
        if report["step"] == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_to_end(make_training(), evaluator, tmp_path / "checkpoint", 2, die)
    resumed, reports = make_training(), Reports()
    run_to_end(resumed, evaluator, tmp_path / "checkpoint", 2, reports)
    assert reports == expected[2:]
    assert_equal_tensors(tensors_of(resumed), tensors_of(straight))


def test_a_run_that_diverges_is_an_error_in_one_line(
    make_training: MakeTraining, evaluator: Evaluator, tmp_path: Path
) -> None:
    training = make_training(lr=1e30, warmup=0, grad_clip=None)
    with pytest.raises(UserError, match=r"^the training diverged in epoch \d\.\d; give it a lower learning rate$"):
        run_to_end(training, evaluator, tmp_path / "checkpoint", 1, Reports())
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.parametrize(
    ("steps_per_epoch", "total_steps", "reports", "expected"),
    [
        (4, 8, 1, [4, 8]),
        (4, 8, 2, [2, 4, 6, 8]),
        (5, 10, 2, [2, 5, 8, 10]),
        (3, 6, 10, [1, 2, 3, 4, 5, 6]),
        (1, 3, 4, [1, 2, 3]),
        (4, 7, 2, [2, 4, 6, 7]),
        (4, 2, 1, [2]),
    ],
)
def test_reports_are_spread_evenly(steps_per_epoch: int, total_steps: int, reports: int, expected: list[int]) -> None:
    assert report_steps(steps_per_epoch, total_steps, reports) == expected


@pytest.mark.parametrize(("ema", "saved"), [(0.0, "model"), (0.5, "averaged")])
def test_the_encoder_has_the_weights_that_were_judged(store: ClipStore, tmp_path: Path, ema: float, saved: str) -> None:
    config, evaluation = SMALL.replace(ema=ema).to_dict(), EvaluationConfig(clips=8).to_dict()
    spec = FinalSpec(config, evaluation, reports_per_epoch=1, folder=tmp_path, threads=1, provenance={})
    final = SaltFinal(spec, store)
    assert final.train(lambda _: None, Event()) is not None
    final.close()
    weights, encoder = load_file(spec.checkpoint), load_encoder(tmp_path).state_dict()
    assert_equal_tensors(encoder, {name: weights[f"{saved}.student.{name}"] for name in encoder})
