"""The experiment on early signals: its plan, its file, its statistics, and a small one from end to end."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from benchmarks.replay.curves import Array
from benchmarks.replay.figures import resamples
from benchmarks.transfer import results
from benchmarks.transfer.__main__ import SPACE as DRAWN_FROM
from benchmarks.transfer.__main__ import main
from benchmarks.transfer.agreement import agreement
from benchmarks.transfer.bench import position_mean_losses
from benchmarks.transfer.plan import HORIZON, Plan, Run, draw_configs
from benchmarks.transfer.records import Key, Record, Records, key_of
from benchmarks.transfer.signals import (
    AVERAGED,
    COSINE,
    LOSS,
    Measurements,
    fitted,
    guarded,
    of_the_tied,
    predicted_end,
)
from salt_tune.space.space_file import load_space
from trainable.data.store.clip_store import ClipStore
from trainable.errors import UserError
from trainable.evaluate.baselines import baseline_losses
from trainable.evaluate.config import EvaluationConfig
from trainable.registry import LR_SCHEDULES

SPACE = """
name: small
fixed: {student: vit_tiny_patch16_224, student_dim: 64, student_depth: 1, predictor_dim: 64, batch_size: 8, warmup: 0.1}
parameters:
  lr: {type: log_uniform, low: 1e-4, high: 1e-2}
  predictor_depth: {type: int, low: 1, high: 2}
start_from: [{lr: 3e-4, predictor_depth: 1}]
trials: 4
"""

LEVELS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=8)


@pytest.fixture
def plan() -> Plan:
    return Plan(
        draw_configs(load_space(str(DRAWN_FROM), {}), 5), seeds=2, short=1, long=4, early=(0.5, 1.0), between=(0.25,)
    )


def records_of(plan: Plan, **changes: Any) -> dict[Key, Record]:
    """Made-up measurements: of configuration c all metrics at the end are c, and earlier ones the same."""
    records: dict[Key, Record] = {}
    for run in plan.runs():
        for point in plan.points(run.kind):
            metrics = {LOSS: 1.0 - run.config / 10, "over_position_mean": 1.0, "probe_top1": float(run.config)}
            metrics |= {"effective_rank": 3.0, **changes}
            weights = {"trained": metrics} | ({"averaged": metrics} if run.kind == "constant" else {})
            record: Record = {"config": run.config, "seed": run.seed, "run": run.kind, "epoch": point.epoch, **weights}
            record |= {"status": "running", "training_seconds": point.epoch, "judging_seconds": 0.5}
            records[key_of(record)] = record
    return records


def test_the_seeds_configuration_is_the_first_and_none_comes_twice() -> None:
    space = load_space(str(DRAWN_FROM), {})
    configs = draw_configs(space, 16)
    assert configs[0].items() >= {"lr": 3e-4, "mask_ratio": 0.75, "predictor_depth": 4, "predictor_dim": 128}.items()
    assert len({json.dumps(config) for config in configs}) == 16
    assert draw_configs(space, 16) == configs


def test_a_run_at_a_constant_rate_warms_up_as_a_short_cosine_does(plan: Plan) -> None:
    constant, short = plan.config(Run(1, 1, "constant"), 400), plan.config(Run(1, 1, "short cosine"), 400)
    long = plan.config(Run(1, 1, "long cosine"), 400)
    assert (constant.epochs, short.epochs, long.epochs, constant.seed) == (4, 1, 4, 1)
    assert (constant.lr_schedule, constant.ema, short.ema) == ("wsd", HORIZON, 0)
    for step in range(6):
        rates = [LR_SCHEDULES[one.lr_schedule](one, step, 50).learning_rate for one in (constant, short)]
        assert rates == pytest.approx([constant.lr * step / 5] * 2)


def test_each_run_is_measured_where_signals_are_taken_and_at_its_end(plan: Plan) -> None:
    assert len(plan.runs()) == 3 * 5 * 2
    assert [(point.epoch, point.panel) for point in plan.points("short cosine")] == [
        (0.25, False),
        (0.5, True),
        (1, True),
    ]
    assert [point.epoch for point in plan.points("constant")] == [0.25, 0.5, 1, 4]
    assert [point.epoch for point in plan.points("long cosine")] == [4]
    assert plan.curve(0.5) == (0.25, 0.5)
    assert [point.epoch for point in plan.stretched(3).points("constant")] == [0.75, 1.5, 3, 12]


def test_the_file_loses_a_line_that_was_cut_off_and_no_other(tmp_path: Path) -> None:
    lines = [{"config": 0, "seed": 0, "run": "constant", "epoch": epoch} for epoch in (0.5, 1.0)]
    file = Records(tmp_path / "file.jsonl", {"long": 4})
    for line in lines:
        file.append(line)
    content = file.path.read_bytes()
    file.path.write_bytes(content + b'{"config": 1, "se')
    assert Records(file.path, {"long": 4}).read() == {key_of(line): line for line in lines}
    assert file.path.read_bytes() == content


def test_a_file_of_another_experiment_is_refused(tmp_path: Path) -> None:
    Records(tmp_path / "file.jsonl", {"long": 4, "seeds": 2})
    with pytest.raises(UserError, match=r"file\.jsonl: is of another experiment: long = 4 there, 5 here; "):
        Records(tmp_path / "file.jsonl", {"long": 5, "seeds": 2})


@given(LEVELS)
def test_tau_is_scipys_on_each_resample(rows: list[tuple[int, int, int]]) -> None:
    signal, truth, counts = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    drawn = np.stack([np.ones_like(counts), counts + (counts.sum() < 2)]).astype(np.intp)
    found = agreement(signal[None], truth, drawn).tau
    for tau, times in zip(found, drawn, strict=True):
        expected = kendalltau(signal.repeat(times), truth.repeat(times)).statistic
        assert tau == pytest.approx(np.nan_to_num(expected), abs=1e-12)


def test_pairs_and_regret_of_a_hand_case() -> None:
    truth, once = np.array([1.0, 2.0, 4.0, 4.0]), np.ones((1, 4), np.intp)
    # Of five pairs of unlike truth, four are right and one is a tie; the signal likes the second as much as the third.
    one = agreement(np.array([[0.0, 3.0, 3.0, 9.0]]), truth, once)
    assert (one.accuracy[0], one.regret[0]) == (pytest.approx(0.9), 0.0)
    tied = agreement(np.array([[0.0, 3.0, 3.0, 1.0]]), truth, once)
    assert tied.regret[0] == pytest.approx(4 - (2 + 4) / 2)
    seeds = agreement(np.array([[0.0, 3.0, 3.0, 9.0], [0.0, 3.0, 3.0, 1.0]]), truth, once)
    assert seeds.regret[0] == pytest.approx((one.regret[0] + tied.regret[0]) / 2)
    assert agreement(np.zeros((1, 4)), truth, once).tau[0] == 0


def test_a_perfect_signal_gives_nothing_up_in_any_resample() -> None:
    truth = np.random.default_rng(0).random(16)
    found = agreement(truth[None] ** 3, truth, resamples(1, 16)).intervals()
    assert found == {"tau": (1, 1, 1), "accuracy": (1, 1, 1), "regret": (0, 0, 0)}


def random_signals(configs: int) -> tuple[list[Array], Array]:
    random = np.random.default_rng(0)
    signals = [random.normal(size=(2, configs)) for _ in range(3)]
    return signals, signals[0].mean(0) * 2 - signals[1].mean(0)


def test_a_fitted_model_finds_what_the_signals_say() -> None:
    signals, truth = random_signals(30)
    assert np.corrcoef(fitted(signals, truth).mean(0), truth)[0, 1] > 0.8


def test_a_fitted_model_never_sees_the_truth_that_it_predicts() -> None:
    signals, truth = random_signals(12)
    other = truth + 50 * (np.arange(12) == 7)
    before, after = fitted(signals, truth), fitted(signals, other)
    np.testing.assert_array_equal(before[:, 7], after[:, 7])
    assert (before[:, :7] != after[:, :7]).any()


def test_curves_that_fall_side_by_side_are_predicted_in_their_order() -> None:
    offsets = np.linspace(0, 1, 8)
    ends = predicted_end(offsets[:, None] + np.array([3.0, 2.0, 1.5]), (0.25, 0.5, 1.0, 4.0))
    assert (np.diff(ends) > 0).all()


def test_losses_count_downwards_and_what_is_no_number_is_no_signal(plan: Plan) -> None:
    records = records_of(plan, effective_rank=None)
    measured = Measurements(records, plan, {})
    names = {signal.name for signal in measured.signals()}
    assert f"{LOSS} + probe_top1, by ranks" in names and not any("effective_rank" in name for name in names)
    for truth in measured.truths():
        assert (np.diff(truth.values) > 0).all()
    findings = results.find(measured)
    assert {one.truth.name for one in findings} == {
        f"{metric}, {source}" for metric in (LOSS, "probe_top1") for source in (COSINE, AVERAGED)
    }
    assert all(found.tau == 1 for found in findings[0].all if found.signal.name in (LOSS, "probe_top1"))


def test_a_guard_puts_the_lost_ones_last_and_leaves_their_order() -> None:
    values = np.array([[-0.3, -0.1, -0.2, -0.4]])
    kept = np.array([[True, False, True, False]])
    assert np.argsort(-guarded(values, kept)[0]).tolist() == [2, 0, 1, 3]


def test_those_within_a_standard_error_of_the_best_are_told_apart_by_the_metric() -> None:
    values, errors = np.array([[-0.30, -0.31, -0.35, -0.32]]), np.full((1, 4), 0.02)
    order = np.argsort(-of_the_tied(values, errors, np.array([[1.0, 9.0, 99.0, 5.0]]))[0])
    assert order.tolist() == [1, 3, 0, 2]


def test_guards_ask_for_what_untrained_students_have(plan: Plan) -> None:
    records = records_of(plan)  # all have a rank of 3
    for untrained, tau in ((3.0, 1.0), (30.0, 1.0)):  # none is lost, or all are
        findings = results.find(Measurements(records, plan, {"effective_rank": untrained}))
        of = [found.tau for found in findings[0].all if "unless effective_rank" in found.signal.name]
        assert of and set(of) == {tau}


def test_a_run_that_diverged_counts_as_the_worst(plan: Plan) -> None:
    records = records_of(plan)
    for key, record in records.items():
        if key[:3] == (4, 0, "short cosine"):
            record |= {"trained": {}, "status": "diverged"}
    values = Measurements(records, plan, {}).values(COSINE, LOSS, 1.0)
    assert values is not None
    assert values[0].tolist() == pytest.approx([-1.0, -0.9, -0.8, -0.7, -1.0])
    assert values[1, 4] == pytest.approx(-0.6)


def test_seconds_of_training_count_once_a_run(plan: Plan) -> None:
    assert Measurements(records_of(plan), plan, {}).seconds() == {"training": 10 * (4 + 4 + 1), "judging": 10 * 8 // 2}


def test_the_position_means_losses_are_those_of_the_baseline(store: ClipStore) -> None:
    config = EvaluationConfig(clips=9)
    losses = position_mean_losses(store, config)
    assert losses.shape == (9,)
    assert losses.mean() == pytest.approx(baseline_losses(store, config).position_mean, rel=1e-6)


@pytest.mark.slow  # trains
def test_a_small_experiment_goes_on_where_it_was_stopped(
    store_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = tmp_path / "small.yaml"
    space.write_text(SPACE)
    sizes = ["--quick", "--configurations", "3", "--seeds", "1", "--workers", "1"]
    asked = ["--store", str(store_path), "--space", str(space), *sizes, "--out", str(tmp_path)]
    main(asked)
    file = tmp_path / "transfer-shapes-quick-cpu.jsonl"
    lines = file.read_text().splitlines()
    assert len(lines) == 1 + 3 * (4 + 1 + 3)
    assert sorted(path.name for path in tmp_path.glob("*.png")) == [
        f"transfer-shapes-quick-{kind}.png" for kind in ("epochs", "ranking", "scatter")
    ]
    figures = json.loads(file.with_suffix(".json").read_text())
    assert figures["agreement"]["val_loss, averaged weights"]["cosine"]["val_loss"].keys() == {"0.5", "1", "2"}

    taken, rest = lines[4], [*lines[:4], *lines[5:]]
    file.write_text("\n".join(rest) + f"\n{taken[:30]}")
    capsys.readouterr()
    main(asked)
    assert "9 runs, 1 of them to train" in capsys.readouterr().out
    again = file.read_text().splitlines()
    assert again[:-1] == rest
    assert without_seconds(again[-1]) == without_seconds(taken)

    with pytest.raises(SystemExit, match="2"):
        main([*asked, "--long", "3"])
    assert "is of another experiment: long = 2 there, 3 here" in capsys.readouterr().err


def without_seconds(line: str) -> dict[str, Any]:
    return {name: value for name, value in json.loads(line).items() if not name.endswith("seconds")}
