"""What every registered learning-rate schedule keeps: rates between 0 and those asked for, whatever the step."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainable.config import TrialConfig
from trainable.registry import COOLDOWNS, LR_SCHEDULES

NAMES = st.sampled_from(sorted(LR_SCHEDULES))
TOTALS = st.integers(1, 10**6)


@pytest.mark.parametrize("name", sorted(LR_SCHEDULES))
def test_a_trial_can_have_it(name: str) -> None:
    assert TrialConfig(lr_schedule=name).lr_schedule == name


@given(
    name=NAMES,
    total=TOTALS,
    share=st.floats(0, 1),
    warmup=st.floats(0, 0.99),
    steps=st.none() | st.integers(0, 2**53 - 1),
    shape=st.sampled_from(sorted(COOLDOWNS)),
    cooldown=st.floats(0, 0.99),
)
def test_rates_stay_within_what_is_asked_for(
    name: str, total: int, share: float, warmup: float, steps: int | None, shape: str, cooldown: float
) -> None:
    config = TrialConfig(
        lr_schedule=name,
        lr=1e-3,
        warmup=warmup,
        warmup_steps=steps,
        cooldown=cooldown,
        cooldown_shape=shape,
        weight_decay=0.1,
        weight_decay_end=0.4,
    )
    learning_rate, decay = LR_SCHEDULES[name](config, round(share * total), total)
    assert 0 <= learning_rate <= config.lr * (1 + 1e-12)
    assert 0.1 - 1e-12 <= decay <= 0.4 + 1e-12


@given(name=NAMES, total=TOTALS, longer=TOTALS, share=st.floats(0, 1), cooldown=st.floats(0, 0.99))
def test_a_trunk_does_not_ask_for_the_length_of_the_run(
    name: str, total: int, longer: int, share: float, cooldown: float
) -> None:
    schedule = LR_SCHEDULES[name]
    if schedule.trunk_steps is not None:
        config = TrialConfig(lr_schedule=name, lr=1e-3, warmup_steps=100, cooldown=cooldown)
        trunk = schedule.trunk_steps(config, total)
        assert 0 <= trunk <= total
        assert trunk <= schedule.trunk_steps(config, total + longer)
        step = round(share * trunk)
        assert schedule(config, step, total) == schedule(config, step, total + longer)


@pytest.mark.parametrize("name", sorted(LR_SCHEDULES))
def test_the_peak_is_reached(name: str) -> None:
    config = TrialConfig(lr_schedule=name, lr=1e-3, warmup_steps=10)
    assert max(LR_SCHEDULES[name](config, step, 100).learning_rate for step in range(101)) == pytest.approx(1e-3)


@pytest.mark.parametrize("name", sorted(COOLDOWNS))
def test_a_cooldown_falls_from_the_whole_rate_to_none(name: str) -> None:
    left = [COOLDOWNS[name](step / 100) for step in range(101)]
    assert (left[0], left[-1]) == pytest.approx((1, 0))
    assert all(before > after for before, after in pairwise(left))
