"""The seconds of a step are those of a training, whatever the configuration asks for."""

import time

import pytest

from tests.trainable.small import SMALL
from trainable.data.store.clip_store import ClipStore
from trainable.train.step_time import GROUP_STEPS, GROUPS, measure_step_seconds


@pytest.mark.parametrize("changes", [{}, {"lr": 1e30, "min_lr": 1e29, "warmup": 0.0, "grad_clip": None, "epochs": 0.1}])
def test_a_step_takes_its_share_of_the_time(store: ClipStore, changes: dict[str, float]) -> None:
    started = time.perf_counter()
    seconds = measure_step_seconds(SMALL.replace(**changes), store, "cpu")
    assert 0 < seconds * (GROUPS // 2 + 1) * GROUP_STEPS < time.perf_counter() - started


def test_larger_steps_take_longer(store: ClipStore) -> None:
    small, large = (SMALL.replace(batch_size=size, predictor_depth=size) for size in (1, 16))
    assert measure_step_seconds(large, store, "cpu") > 2 * measure_step_seconds(small, store, "cpu")
