"""Fixtures of the training room's tests."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainable.small import SMALL, make_plan, prepare
from trainable.data.codecs import LatentFormat, PixelFormat
from trainable.data.store import ClipStore
from trainable.data.view import View
from trainable.loop import Training

MakeTraining = Callable[..., Training]
StoreOf = Callable[[PixelFormat, LatentFormat], ClipStore]

THREE_VIEWS = View(frames=4, size=32, patch=8, tubelet=2, views=3)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tensors this small are slower with more threads."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def store_of(tmp_path_factory: pytest.TempPathFactory, videos: Path) -> StoreOf:
    """Stores of `videos` in the formats asked for, with three views of 4 x 32 x 32 and latents of `Projection`."""
    folder = tmp_path_factory.mktemp("formats")

    @cache
    def make(pixels: PixelFormat, latents: LatentFormat) -> ClipStore:
        path = folder / f"{pixels}-{latents}"
        return prepare(path, make_plan(videos, THREE_VIEWS, pixels=pixels, latents=latents))

    return make


@pytest.fixture
def make_training(store: ClipStore) -> Iterator[MakeTraining]:
    """Makes small trainings on the CPU, on `store` or another one.

    Keyword arguments change the configuration, `options` go to `Training`.
    """
    made: list[Training] = []

    def make(*, of: ClipStore = store, options: dict[str, Any] | None = None, **changes: Any) -> Training:
        training = Training(SMALL.replace(**changes), of, **{"device": "cpu", **(options or {})})
        made.append(training)
        return training

    yield make
    for training in made:
        training.close()
