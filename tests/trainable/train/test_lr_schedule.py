"""Schedules depend on the share of the run alone."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainable.config import TrialConfig
from trainable.train.lr_schedule import learning_rate, weight_decay

SHARES = st.floats(0, 1)
WARMUPS = st.floats(0, 0.9)


@given(warmup=st.floats(1e-3, 0.9), lr=st.floats(1e-6, 1))
def test_the_rate_at_its_corners(warmup: float, lr: float) -> None:
    config = TrialConfig(lr=lr, warmup=warmup)
    assert learning_rate(config, 0) == 0
    assert learning_rate(config, warmup / 2) == pytest.approx(lr / 2)
    assert learning_rate(config, warmup) == pytest.approx(lr)
    assert learning_rate(config, (1 + warmup) / 2) == pytest.approx((lr + lr / 10) / 2)
    assert learning_rate(config, 1) == pytest.approx(lr / 10)


def test_the_floor_is_the_one_given() -> None:
    assert learning_rate(TrialConfig(lr=1e-3, min_lr=1e-6), 1) == pytest.approx(1e-6)
    assert learning_rate(TrialConfig(lr=1e-3, min_lr=1e-3), 0.7) == pytest.approx(1e-3)


def test_without_a_warm_up_the_rate_starts_at_its_peak() -> None:
    assert learning_rate(TrialConfig(lr=1e-3, warmup=0), 0) == 1e-3


@given(share=SHARES, warmup=WARMUPS, epochs=st.integers(1, 1000))
def test_the_same_share_has_the_same_value_however_long_the_run(share: float, warmup: float, epochs: int) -> None:
    short = TrialConfig(warmup=warmup)
    long = short.replace(epochs=epochs)
    assert learning_rate(short, share) == learning_rate(long, share)
    assert weight_decay(short, share) == weight_decay(long, share)


@given(shares=st.tuples(SHARES, SHARES).map(sorted), warmup=WARMUPS)
def test_the_rate_rises_and_then_falls(shares: list[float], warmup: float) -> None:
    config = TrialConfig(warmup=warmup)
    early, late = shares
    before, after = learning_rate(config, early), learning_rate(config, late)
    if late < warmup:
        assert before <= after <= config.lr
    elif early >= warmup:
        assert config.lr >= before >= after >= config.floor_lr * (1 - 1e-12)


@given(shares=st.tuples(SHARES, SHARES).map(sorted), start=st.floats(0, 1), end=st.floats(0, 1))
def test_weight_decay_goes_one_way_from_start_to_end(shares: list[float], start: float, end: float) -> None:
    config = TrialConfig(weight_decay=start, weight_decay_end=end)
    assert weight_decay(config, 0) == pytest.approx(start)
    assert weight_decay(config, 1) == pytest.approx(end)
    early, late = (weight_decay(config, share) for share in shares)
    assert math.copysign(1, end - start) * (late - early) >= -1e-12


def test_weight_decay_follows_a_cosine() -> None:
    config = TrialConfig(weight_decay=0.04, weight_decay_end=0.4)
    assert weight_decay(config, 0.5) == pytest.approx(0.22)
    assert weight_decay(config, 0.25) == pytest.approx(0.4 - 0.36 * (1 + math.cos(math.pi / 4)) / 2)
