"""A final run can be stopped and started again as often as one likes."""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.trainable.conftest import MakeTraining
from tests.trainable.small import assert_equal_tensors, tensors_of
from trainable.data.store.clip_store import ClipStore
from trainable.errors import CheckpointError, UserError
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator
from trainable.final_trial import probe_epochs
from trainable.train.checkpoint import load_checkpoint
from trainable.train.checkpoints import Checkpoints
from trainable.train.training import Training
from trainable.trial.run_to_end import MOST_SKIPPED, report_steps, run_to_end

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


def folder(within: Path, name: str) -> Path:
    """Makes a folder for the checkpoints of another run."""
    (within / name).mkdir()
    return within / name


def spoil(training: Training, steps: dict[int, float]) -> None:
    """Multiplies the predictions of a training in some steps."""

    def hook(model: torch.nn.Module, _: Any, prediction: torch.Tensor) -> torch.Tensor:
        return prediction * steps.get(training.step + 1, 1.0) if model.training else prediction

    training.model.register_forward_hook(hook)


def test_a_run_reports_evenly_and_leaves_a_checkpoint(
    make_training: MakeTraining, evaluator: Evaluator, tmp_path: Path
) -> None:
    reports = Reports()
    last = run_to_end(make_training(), evaluator, Checkpoints(tmp_path), 2, reports)
    assert [report["step"] for report in reports] == [2, 4, 6, 8]
    assert last is not None
    assert last["status"] == "complete"
    assert last["val_loss"] == reports[-1]["val_loss"]
    assert Checkpoints(tmp_path).last.is_file()


def test_features_are_probed_at_the_end_and_at_halves(
    make_training: MakeTraining, evaluator: Evaluator, tmp_path: Path
) -> None:
    probed: dict[float, bool] = {}
    training = make_training(epochs=5)
    run_to_end(
        training,
        evaluator,
        Checkpoints(tmp_path),
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
    run_to_end(straight, evaluator, Checkpoints(folder(tmp_path, "straight")), 1, expected)

    reports = Reports()
    for stop in stops:
        training = make_training()
        training.model.register_forward_hook(
            lambda model, *_, training=training, stop=stop: (
                training.stop.set() if model.training and training.step + 1 == stop else None
            )
        )
        result = run_to_end(training, evaluator, Checkpoints(tmp_path), 1, reports)
        assert training.step == stop
        assert result is None
    resumed = make_training()
    last = run_to_end(resumed, evaluator, Checkpoints(tmp_path), 1, reports)
    assert last is not None
    assert_equal_tensors(tensors_of(resumed), tensors_of(straight))
    assert reports == expected


def test_a_run_that_died_after_its_last_report_makes_it_again(
    make_training: MakeTraining, evaluator: Evaluator, tmp_path: Path
) -> None:
    first = run_to_end(make_training(), evaluator, Checkpoints(tmp_path), 1, Reports())
    reports = Reports()
    again = run_to_end(make_training(), evaluator, Checkpoints(tmp_path), 1, reports)
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
    run_to_end(straight, evaluator, Checkpoints(folder(tmp_path, "straight")), 2, expected)

    def die(report: dict[str, Any]) -> None:
        if report["step"] == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_to_end(make_training(), evaluator, Checkpoints(tmp_path), 2, die)
    resumed, reports = make_training(), Reports()
    run_to_end(resumed, evaluator, Checkpoints(tmp_path), 2, reports)
    assert reports == expected[2:]
    assert_equal_tensors(tensors_of(resumed), tensors_of(straight))


def test_a_run_that_diverges_is_an_error_in_one_line(
    make_training: MakeTraining, evaluator: Evaluator, tmp_path: Path
) -> None:
    training = make_training(lr=1e30, warmup=0, grad_clip=None)
    with pytest.raises(UserError, match=r"^the training diverged in epoch \d\.\d.*; give it a lower learning rate$"):
        run_to_end(training, evaluator, Checkpoints(tmp_path), 1, Reports())


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


@pytest.mark.parametrize("spoilt", [{5: math.nan}, {5: 100.0}, {2: math.nan, 3: math.inf, 6: 100.0}])
def test_a_bad_batch_is_left_out(
    make_training: MakeTraining, evaluator: Evaluator, tmp_path: Path, spoilt: dict[int, float]
) -> None:
    training, told, reports = make_training(), list[str](), Reports()
    spoil(training, spoilt)
    last = run_to_end(training, evaluator, Checkpoints(tmp_path), 1, reports, probe=False, tell=told.append)
    assert last is not None and math.isfinite(last["val_loss"])
    assert training.skipped == [*spoilt]
    assert [report["step"] for report in reports] == [4, 8]
    assert all(line.endswith("and leaves that batch out") for line in told) and 1 <= len(told) <= len(spoilt)

    again = make_training()
    assert Checkpoints(tmp_path).load(again) is None
    assert again.skipped == training.skipped
    assert_equal_tensors(tensors_of(again), tensors_of(training))


def test_what_a_bad_batch_did_is_undone(make_training: MakeTraining, evaluator: Evaluator, tmp_path: Path) -> None:
    careful = make_training()
    spoil(careful, {5: math.nan})
    careful.careful_to = 8  # never goes back
    run_to_end(careful, evaluator, Checkpoints(folder(tmp_path, "careful")), 1, Reports(), probe=False)
    training = make_training()
    spoil(training, {5: math.nan})
    run_to_end(training, evaluator, Checkpoints(tmp_path), 1, Reports(), probe=False)
    assert_equal_tensors(tensors_of(training), tensors_of(careful))


def test_with_too_many_bad_batches_it_gives_up(
    make_training: MakeTraining, evaluator: Evaluator, tmp_path: Path
) -> None:
    training = make_training(epochs=4)
    spoil(training, dict.fromkeys(range(3, 17), math.nan))
    left_out = MOST_SKIPPED + 1
    with pytest.raises(UserError, match=rf"^the training diverged in epoch .*, with {left_out} batches left out; "):
        run_to_end(training, evaluator, Checkpoints(tmp_path), 1, Reports(), probe=False)


def test_the_last_two_checkpoints_and_the_best_are_kept(
    make_training: MakeTraining, evaluator: Evaluator, tmp_path: Path
) -> None:
    checkpoints = Checkpoints(tmp_path)
    losses: dict[int, float] = {}
    run_to_end(
        make_training(), evaluator, checkpoints, 2, lambda report: losses.update({report["step"]: report["val_loss"]})
    )
    steps = {}
    for name in ("last", "previous", "best"):
        training = make_training()
        load_checkpoint(getattr(checkpoints, name), training)
        steps[name] = training.step
    assert steps == {"last": 8, "previous": 6, "best": min(losses, key=lambda step: losses[step])}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best.safetensors",
        "checkpoint.safetensors",
        "previous.safetensors",
    ]


def test_a_damaged_checkpoint_is_no_end(make_training: MakeTraining, evaluator: Evaluator, tmp_path: Path) -> None:
    straight, checkpoints = make_training(), Checkpoints(tmp_path)
    run_to_end(straight, evaluator, checkpoints, 1, Reports(), probe=False)
    checkpoints.last.write_bytes(checkpoints.last.read_bytes()[:-1000])
    resumed, told, reports = make_training(), list[str](), Reports()
    run_to_end(resumed, evaluator, checkpoints, 1, reports, probe=False, tell=told.append)
    assert_equal_tensors(tensors_of(resumed), tensors_of(straight))
    assert [report["step"] for report in reports] == [8]
    assert len(told) == 1 and str(checkpoints.last) in told[0] and "of epoch 1.00" in told[0]
    for path in (checkpoints.last, checkpoints.previous):
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"previous\.safetensors: not a whole checkpoint"):
        run_to_end(make_training(), evaluator, checkpoints, 1, Reports(), probe=False)


def test_checkpoints_are_written_as_time_goes_by(
    make_training: MakeTraining, evaluator: Evaluator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainable.trial.run_to_end.CHECK_EVERY", 1)
    straight, expected = make_training(), Reports()
    run_to_end(straight, evaluator, Checkpoints(folder(tmp_path, "straight")), 1, expected, probe=False)
    checkpoints, training = Checkpoints(tmp_path, minutes=0), make_training()

    class DiedError(Exception):
        """What no code expects."""

    def die(*_: Any) -> None:
        if training.step == 7:
            raise DiedError

    training.model.register_forward_hook(die)
    with pytest.raises(DiedError):
        run_to_end(training, evaluator, checkpoints, 1, Reports(), probe=False)
    resumed, reports = make_training(), Reports()
    checkpoints.load(resumed)
    assert resumed.step == 7
    run_to_end(resumed, evaluator, checkpoints, 1, reports, probe=False)
    assert_equal_tensors(tensors_of(resumed), tensors_of(straight))
    assert reports == expected[1:]


def test_no_checkpoint_stands_between_a_step_and_its_report(
    make_training: MakeTraining, evaluator: Evaluator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainable.trial.run_to_end.CHECK_EVERY", 1)

    def die(_: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    checkpoints = Checkpoints(tmp_path, minutes=0)
    with pytest.raises(KeyboardInterrupt):
        run_to_end(make_training(), evaluator, checkpoints, 1, die, probe=False)
    reports = Reports()
    run_to_end(make_training(), evaluator, checkpoints, 1, reports, probe=False)
    assert [report["step"] for report in reports] == [4, 8]


@pytest.mark.parametrize("shape", ["linear", "1-sqrt"])
def test_the_trunk_of_a_run_goes_on_to_a_longer_one(
    make_training: MakeTraining, evaluator: Evaluator, tmp_path: Path, shape: str
) -> None:
    settings = {"lr_schedule": "wsd", "warmup_steps": 3, "ema": 0.5, "cooldown": 0.25, "cooldown_shape": shape}
    cooled, longer, straight = (make_training(**settings, epochs=epochs) for epochs in (2, 4, 4))
    checkpoints = Checkpoints(tmp_path)
    run_to_end(cooled, evaluator, checkpoints, 1, Reports(), probe=False)
    longer_folder = folder(tmp_path, "longer")
    Checkpoints(longer_folder).last.write_bytes(checkpoints.trunk.read_bytes())
    reports, expected = Reports(), Reports()
    run_to_end(longer, evaluator, Checkpoints(longer_folder), 1, reports, probe=False)
    run_to_end(straight, evaluator, Checkpoints(folder(tmp_path, "straight")), 1, expected, probe=False)
    assert (cooled.trunk_steps, longer.trunk_steps) == (6, 12)
    assert_equal_tensors(tensors_of(longer), tensors_of(straight))
    assert reports[1:] == expected[2:]  # the first has the mean loss of fewer steps
    with pytest.raises(CheckpointError, match="of another run: epochs = 2 there, 4 here"):
        load_checkpoint(checkpoints.last, make_training(**settings, epochs=4))
    with pytest.raises(CheckpointError, match="of a longer run: 6 steps, more than the 3 that 1 epochs have before"):
        load_checkpoint(checkpoints.trunk, make_training(**settings, epochs=1))
