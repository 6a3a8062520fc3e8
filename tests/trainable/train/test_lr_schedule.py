"""Schedules are functions of the step: a cosine of its share of the run, a constant rate of nothing but the warm-up."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainable.config import TrialConfig
from trainable.train.lr_schedule import cosine, wsd

TOTAL = 1000
STEPS = st.integers(0, TOTAL)
LONG = st.integers(0, 10**6)
WARMUPS = st.floats(0, 0.9)


def rate(config: TrialConfig, share: float) -> float:
    return cosine(config, round(share * TOTAL), TOTAL).learning_rate


def decay(config: TrialConfig, share: float) -> float:
    return cosine(config, round(share * TOTAL), TOTAL).weight_decay


@given(warmup=st.integers(1, 450), lr=st.floats(1e-6, 1))
def test_a_cosine_at_its_corners(warmup: int, lr: float) -> None:
    share = 2 * warmup / TOTAL
    config = TrialConfig(lr=lr, warmup=share)
    assert rate(config, 0) == 0
    assert rate(config, share / 2) == pytest.approx(lr / 2)
    assert rate(config, share) == pytest.approx(lr)
    assert rate(config, (1 + share) / 2) == pytest.approx((lr + lr / 10) / 2)
    assert rate(config, 1) == pytest.approx(lr / 10)


def test_the_floor_is_the_one_given() -> None:
    assert rate(TrialConfig(lr=1e-3, min_lr=1e-6), 1) == pytest.approx(1e-6)
    assert rate(TrialConfig(lr=1e-3, min_lr=1e-3), 0.7) == pytest.approx(1e-3)


@pytest.mark.parametrize("changes", [{"warmup": 0}, {"warmup_steps": 0}])
def test_without_a_warm_up_a_rate_starts_at_its_peak(changes: dict[str, Any]) -> None:
    config = TrialConfig(lr=1e-3, **changes)
    assert rate(config, 0) == 1e-3
    assert wsd(config.replace(warmup_steps=0), 0, TOTAL).learning_rate == 1e-3


@given(step=STEPS, warmup=WARMUPS, longer=st.integers(1, 1000))
def test_a_cosine_has_the_same_value_at_the_same_share_however_long_the_run(
    step: int, warmup: float, longer: int
) -> None:
    config = TrialConfig(warmup=warmup)
    assert cosine(config, step, TOTAL) == pytest.approx(cosine(config, step * longer, TOTAL * longer))


@given(steps=st.tuples(STEPS, STEPS).map(sorted), warmup=WARMUPS)
def test_a_cosine_rises_and_then_falls(steps: list[int], warmup: float) -> None:
    config = TrialConfig(warmup=warmup)
    early, late = steps
    before, after = (cosine(config, step, TOTAL).learning_rate for step in steps)
    if late / TOTAL < warmup:
        assert before <= after <= config.lr
    elif early / TOTAL >= warmup:
        assert config.lr >= before >= after >= config.floor_lr * (1 - 1e-12)


@given(warmup=st.integers(1, TOTAL + 10), step=STEPS)
def test_a_warm_up_in_steps_is_the_same_in_all_schedules(warmup: int, step: int) -> None:
    config = TrialConfig(lr=1e-3, warmup_steps=warmup, cooldown=0)
    rates = [schedule(config, step, TOTAL).learning_rate for schedule in (cosine, wsd)]
    assert rates[1] == pytest.approx(1e-3 * min(1, step / warmup))
    if step <= warmup:
        assert rates[0] == pytest.approx(rates[1])


@given(step=LONG, total=st.integers(1, 10**6), other=st.integers(1, 10**6), warmup=st.none() | st.integers(0, 10**6))
def test_a_constant_rate_knows_nothing_of_the_length(step: int, total: int, other: int, warmup: int | None) -> None:
    config = TrialConfig(lr=1e-3, warmup=0.5, warmup_steps=warmup, weight_decay=0.04, cooldown=0)
    rates = wsd(config, step, step + total)
    assert rates == wsd(config, step, step + other)
    assert rates.weight_decay == 0.04
    assert 0 <= rates.learning_rate <= wsd(config, step + 1, step + total).learning_rate <= 1e-3


@pytest.mark.parametrize(("beta2", "steps"), [(0.95, 40), (0.999, 2000), (0.0, 2)])
def test_a_constant_rate_warms_up_until_the_second_moments_are_settled(beta2: float, steps: int) -> None:
    config = TrialConfig(lr=1e-3, beta2=beta2, cooldown=0)
    assert wsd(config, steps - 1, TOTAL).learning_rate < wsd(config, steps, TOTAL).learning_rate == 1e-3
    assert wsd(config, steps // 2, TOTAL).learning_rate == pytest.approx(5e-4)


@given(steps=st.tuples(STEPS, STEPS).map(sorted), start=st.floats(0, 1), end=st.floats(0, 1))
def test_weight_decay_goes_one_way_from_start_to_end(steps: list[int], start: float, end: float) -> None:
    config = TrialConfig(weight_decay=start, weight_decay_end=end)
    assert decay(config, 0) == pytest.approx(start)
    assert decay(config, 1) == pytest.approx(end)
    early, late = (cosine(config, step, TOTAL).weight_decay for step in steps)
    assert math.copysign(1, end - start) * (late - early) >= -1e-12


def test_weight_decay_follows_a_cosine() -> None:
    config = TrialConfig(weight_decay=0.04, weight_decay_end=0.4)
    assert decay(config, 0.5) == pytest.approx(0.22)
    assert decay(config, 0.25) == pytest.approx(0.4 - 0.36 * (1 + math.cos(math.pi / 4)) / 2)


@given(cooldown=st.floats(0.01, 0.9), total=st.integers(100, 10**5), shape=st.sampled_from(["linear", "1-sqrt"]))
def test_a_cooldown_takes_the_last_share_of_the_run(cooldown: float, total: int, shape: str) -> None:
    config = TrialConfig(lr=1e-3, warmup_steps=0, cooldown=cooldown, cooldown_shape=shape)
    trunk = total - round(cooldown * total)
    rates = [wsd(config, step, total).learning_rate for step in (trunk - 1, trunk, trunk + 1, total)]
    assert rates[0] == rates[1] == 1e-3
    assert 1e-3 > rates[2] >= rates[3] > 0
    assert rates[3] <= 1e-3 / (total - trunk)
    assert wsd(config, total, total).weight_decay == config.weight_decay
