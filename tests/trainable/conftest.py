"""Fixtures of the training room's tests."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from tests.trainable.small import SMALL
from trainable.data.store import ClipStore
from trainable.loop import Training

MakeTraining = Callable[..., Training]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tensors this small are slower with more threads."""
    torch.set_num_threads(1)


@pytest.fixture
def make_training(store: ClipStore) -> Iterator[MakeTraining]:
    """Makes small trainings on the CPU; keyword arguments change the configuration, `options` go to `Training`."""
    made: list[Training] = []

    def make(*, options: dict[str, Any] | None = None, **changes: Any) -> Training:
        training = Training(SMALL.replace(**changes), store, **{"device": "cpu", **(options or {})})
        made.append(training)
        return training

    yield make
    for training in made:
        training.close()
