"""A trial reports each resource point exactly once and trains nothing twice, wherever its processes die."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from analysis.tables.clip_losses import read_time_slots
from analysis.verdict import Verdict
from tests.trainable.conftest import MakeTraining, Start
from tests.trainable.small import SMALL, assert_equal_tensors
from tests.trainable.trials import (
    POINTS,
    Fragile,
    assert_same_files,
    checkpoint_of,
    clip_losses,
    make_run,
    make_trial,
    steps_of,
    to_the_end,
    told,
)
from trainable.data.store.clip_store import ClipStore
from trainable.errors import ConfigError
from trainable.evaluate.answers import Answers, read_answers
from trainable.model.flops import measure_model
from trainable.train.checkpoint import read_note
from trainable.trial.salt_worker import SaltWorker
from trainable.trial.trial_run import SaltTrial
from trainable.worker import TrialSpec


def test_a_trial_reports_at_its_points_and_probes_where_asked(
    straight: list[dict[str, Any]], tmp_path: Path, store: ClipStore
) -> None:
    assert [report["resource"] for report in straight] == POINTS
    assert [report["step"] for report in straight] == [2, 4, 7, 8]
    assert [report["status"] for report in straight] == ["running"] * 3 + ["complete"]
    assert [report["resource"] for report in straight if "effective_rank" in report] == [1.0, 2.0]
    size = measure_model(SMALL, store.view, store.teacher.dim)
    for report in straight:
        assert report["tflop"] == pytest.approx(report["step"] * size.tflop_per_step)
        assert report["step_seconds"] == pytest.approx(report["training_seconds"] / report["step"])
        assert report["student_parameters"] == size.student_parameters
        assert report["predictor_parameters"] == size.predictor_parameters
    losses = clip_losses(tmp_path / "straight")
    assert list(losses) == [f"resource-{point:.4f}.parquet" for point in POINTS]
    assert [np.mean(values) for values in losses.values()] == pytest.approx([r["val_loss"] for r in straight])


def test_each_step_of_a_short_training_is_kept(straight: list[dict[str, Any]], tmp_path: Path) -> None:
    kept = steps_of(tmp_path / "straight")
    assert kept["step"] == list(range(1, 9)) and kept["steps"] == [1] * 8
    assert kept["epoch"] == [step / 4 for step in kept["step"]]
    between = zip([0, *(report["step"] for report in straight)], straight, strict=False)
    for first, report in between:
        for name in ("train_loss", "grad_norm", "clipped_share"):
            assert np.mean(kept[name][first : report["step"]]) == pytest.approx(report[name])
        assert kept["lr"][report["step"] - 1] == report["lr"]


def test_the_loss_by_time_slot_is_kept_with_that_of_the_clips(straight: list[dict[str, Any]], tmp_path: Path) -> None:
    for report, file in zip(straight, sorted((tmp_path / "straight" / "clip_losses" / "T0").iterdir()), strict=True):
        slots = read_time_slots(file)
        assert slots["clips"].tolist() == [8] * 4 and slots["loss"].mean() == pytest.approx(report["val_loss"])
        assert slots["loss"].nunique() == 4 and (slots["loss_se"] > 0).all()


def test_what_probes_answer_is_kept_where_they_are_asked(
    straight: list[dict[str, Any]], judge: Fragile, tmp_path: Path
) -> None:
    folder = tmp_path / "straight" / "answers" / "T0"
    assert sorted(file.name for file in folder.iterdir()) == ["resource-1.0000.parquet", "resource-2.0000.parquet"]
    for report, file in zip(straight[1::2], sorted(folder.iterdir()), strict=True):
        kept = read_answers(file, judge.on.panel.ids)
        assert set(kept) == {"probe_top1", "knn_top1", "order_top1", "speed_top1", "retrieval_top1"}
        for name, answers in kept.items():
            assert answers.estimate().mean == pytest.approx(report[name])
        assert answers_are_right(kept["probe_top1"]) == pytest.approx(report["probe_top1"], abs=0.1)


def answers_are_right(answers: Answers) -> float:
    """The share of the answers that are right, whatever their folds."""
    return float((answers.labels == answers.predicted).mean())


def test_a_worker_judges_beside_untrained_students(store: ClipStore, tmp_path: Path) -> None:
    run = make_run(tmp_path, store, points=[0.5, 1.0], full=1.0, probe_points=[1.0])
    worker = SaltWorker(run, store)
    trial = worker.start(make_trial())
    early, last = to_the_end(trial)
    trial.close()
    worker.close()
    assert "verdict" not in early
    assert last["verdict"] in [*Verdict]
    assert last["above_untrained_low"] <= last["above_untrained"] <= last["above_untrained_high"]
    assert len([*(tmp_path / "baselines").glob("*.json")]) == 1
    assert all(value is None or type(value) in (int, float, str) for value in last.values()), "the checkpoint is JSON"


WHEN = [0, *(pytest.param(point, marks=pytest.mark.slow) for point in (1, 2)), 3]


@pytest.mark.parametrize("point", WHEN)
def test_a_process_that_dies_before_its_checkpoint_leaves_the_point_before(
    start: Start, judge: Fragile, straight: list[dict[str, Any]], tmp_path: Path, point: int
) -> None:
    first = start()
    reports = [first.next_report() for _ in range(point)]
    judge.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        first.next_report()
    reports += to_the_end(start(known=first.known))
    assert [told(report) for report in reports] == [told(report) for report in straight]
    assert_same_files(tmp_path, tmp_path / "straight")


@pytest.mark.parametrize("point", WHEN)
def test_a_report_that_got_lost_is_given_again_without_training(
    start: Start, straight: list[dict[str, Any]], tmp_path: Path, point: int
) -> None:
    first = start()
    reports = [first.next_report() for _ in range(point)]
    known = first.known
    lost = first.next_report()  # its process dies before anybody hears of it
    again = to_the_end(start(known=known))
    assert again[0] == lost, "every clock says the same: it was not made again"
    assert [told(report) for report in reports + again] == [told(report) for report in straight]
    assert_same_files(tmp_path, tmp_path / "straight")


def test_a_trial_that_has_ended_says_so_again(start: Start, straight: list[dict[str, Any]], tmp_path: Path) -> None:
    for known in (0.0, 2.0):
        trial = start(known=known, folder=tmp_path / "straight")
        assert trial.next_report() == trial.next_report() == straight[-1]


def test_a_lost_checkpoint_costs_training_but_no_second_report(start: Start, straight: list[dict[str, Any]]) -> None:
    reports = to_the_end(start(known=1.0))
    assert [report["resource"] for report in reports] == POINTS[2:]
    assert [report["val_loss"] for report in reports] == [report["val_loss"] for report in straight[2:]]


def test_steps_that_are_made_again_are_kept_once(start: Start, straight: list[dict[str, Any]], tmp_path: Path) -> None:
    first = start()
    first.next_report()
    first.next_report()
    checkpoint_of(tmp_path).unlink()  # lost with its disk, and the steps are not
    assert steps_of(tmp_path)["step"] == [1, 2, 3, 4]
    again = start()
    again.next_report()
    assert steps_of(tmp_path)["step"] == [1, 2]
    (tmp_path / "steps" / "T0.parquet").write_bytes(b"broken")
    to_the_end(again)
    assert steps_of(tmp_path)["step"] == [3, 4, 5, 6, 7, 8]


def test_points_on_one_step_share_an_evaluation(start: Start, tmp_path: Path) -> None:
    points = [0.1, 0.2, 0.3, 0.95, 1.0]
    reports = to_the_end(start(resource={"full": 1.0, "points": points, "probe_points": [0.2, 1.0]}))
    assert [(report["resource"], report["step"]) for report in reports] == list(
        zip(points, [1, 1, 1, 4, 4], strict=True)
    )
    assert [report["status"] for report in reports] == ["running"] * 4 + ["complete"]
    assert ["effective_rank" in report for report in reports] == [False, True, True, False, True]
    for same in (reports[:3], reports[3:]):
        assert len({(report["val_loss"], report["train_loss"], report["time"]) for report in same}) == 1
    answers = sorted(file.name for file in (tmp_path / "answers" / "T0").iterdir())
    assert answers == ["resource-0.2000.parquet", "resource-1.0000.parquet"]
    losses = list(clip_losses(tmp_path).values())
    assert losses[0] == losses[1] == losses[2] != losses[3] == losses[4]


def test_points_on_one_step_survive_a_restart(start: Start, tmp_path: Path) -> None:
    resource = {"full": 1.0, "points": [0.1, 0.2, 0.25, 1.0], "probe_points": [0.2]}
    expected = to_the_end(start(folder=tmp_path / "straight", resource=resource))
    reports: list[dict[str, Any]] = []
    while not reports or reports[-1]["status"] == "running":
        reports.append(start(known=reports[-1]["resource"] if reports else 0.0, resource=resource).next_report())
    assert [told(report) for report in reports] == [told(report) for report in expected]
    assert_same_files(tmp_path, tmp_path / "straight")


def test_tflop_pay_for_fewer_steps_of_a_larger_model(start: Start, store: ClipStore, tmp_path: Path) -> None:
    steps = {}
    full = 10 * measure_model(SMALL, store.view, store.teacher.dim).tflop_per_step
    for depth in (1, 4):
        trial = start(
            folder=tmp_path / str(depth),
            resource={"kind": "tflop", "full": full, "points": [full / 2, full]},
            predictor_depth=depth,
        )
        reports = to_the_end(trial)
        steps[depth] = [report["step"] for report in reports]
        assert [report["resource"] for report in reports] == [full / 2, full]
        step_cost = reports[-1]["tflop"] / reports[-1]["step"]
        assert abs(reports[-1]["tflop"] - full) <= step_cost / 2
        assert reports[-1]["lr"] == pytest.approx(SMALL.floor_lr), "the schedule ends with the trial"
    assert steps[1] == [5, 10]
    assert steps[4][1] < 5


def test_seconds_are_measured_once_a_trial(start: Start, tmp_path: Path) -> None:
    resource = {"kind": "second", "full": 0.3, "points": [0.1, 0.2, 0.3]}
    first = start(resource=resource)
    early = first.next_report()
    note = read_note(checkpoint_of(tmp_path))
    reports = to_the_end(start(known=0.1, resource=resource))
    assert read_note(checkpoint_of(tmp_path))["cost"] == note["cost"]
    assert [report["resource"] for report in (early, *reports)] == [0.1, 0.2, 0.3]
    assert reports[-1]["step"] == max(1, round(0.3 / note["cost"]))
    assert reports[-1]["lr"] == pytest.approx(SMALL.floor_lr)


def test_a_measured_trial_is_the_trial_that_was_not(start: Start, make_training: MakeTraining, tmp_path: Path) -> None:
    """Measuring leaves no trace: weights and random numbers start as the seed says."""
    report = to_the_end(start(resource={"kind": "second", "full": 1e-4, "points": [1e-4]}))[-1]
    plain = make_training(epochs=report["epoch"])
    plain.train_to(report["step"])
    expected = {name: value for name, value in plain.state_dict()["tensors"].items() if name != "sums"}
    saved = load_file(checkpoint_of(tmp_path))
    del saved["sums"]
    assert_equal_tensors(saved, expected)


def test_a_divergence_is_reported_once_at_the_point_it_was_on_the_way_to(start: Start, tmp_path: Path) -> None:
    wild: dict[str, Any] = {"lr": 1e30, "warmup": 0.0, "grad_clip": None}
    lost = start(**wild).next_report()
    assert (lost["status"], lost["resource"], str(lost["val_loss"])) == ("diverged", 0.5, "nan")
    again = start(**wild)
    assert told(again.next_report()) == told(again.next_report()) == told(lost)
    assert not (tmp_path / "clip_losses").exists()


# Of student and predictor: widths and their heads.
WIDTHS = [(8, 1, 72, 9), (12, 3, 48, 3), (16, 2, 24, 3), (24, 3, 16, 1), (48, 3, 12, 3), (72, 9, 8, 8), (1, 1, 25, 5)]


@pytest.mark.parametrize(("student_dim", "student_heads", "predictor_dim", "predictor_num_heads"), WIDTHS)
def test_any_width_that_its_heads_divide_can_be_trained(
    start: Start, student_dim: int, student_heads: int, predictor_dim: int, predictor_num_heads: int
) -> None:
    students = {"student_dim": student_dim, "student_heads": student_heads}
    trial = start(**students, predictor_dim=predictor_dim, predictor_num_heads=predictor_num_heads)
    reports = [trial.next_report(), trial.next_report()]
    assert [report["status"] for report in reports] == ["running"] * 2
    measures = ("val_loss", "train_loss", "effective_rank", "probe_top1")
    assert np.isfinite([reports[-1][name] for name in measures]).all()


def test_hyperparameters_that_do_not_fit_are_told_when_a_report_is_asked_for(tmp_path: Path, store: ClipStore) -> None:
    fits = make_trial()
    made = TrialSpec(fits.id, {**fits.config, "predictor_dim": 100})
    trial = SaltTrial(made, make_run(tmp_path, store), store, lambda: pytest.fail("needs no judge"))
    with pytest.raises(ConfigError, match=r"^predictor_dim = 100: must be divisible by 64"):
        trial.next_report()
    trial.close()
