"""Fixtures of the training room's tests."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainable.small import SMALL, make_plan, prepare
from tests.trainable.trials import Fragile, make_run, make_trial, to_the_end
from trainable.data.build import plan
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.codecs import LatentFormat, PixelFormat
from trainable.data.video.view import View
from trainable.evaluate.config import EvaluationConfig
from trainable.train.training import Training
from trainable.trial.trial_run import SaltTrial

MakeTraining = Callable[..., Training]
Start = Callable[..., SaltTrial]
StoreOf = Callable[[PixelFormat, LatentFormat], ClipStore]

THREE_VIEWS = View(frames=4, size=32, patch=8, tubelet=2, views=3)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tensors this small are slower with more threads."""
    torch.set_num_threads(1)


SHARD_CLIPS = plan.SHARD_CLIPS


@pytest.fixture(scope="session")
def store_of(tmp_path_factory: pytest.TempPathFactory, videos: Path) -> StoreOf:
    """Stores of `videos` in the formats asked for, with three views of 4 x 32 x 32 and latents of `Projection`."""
    folder = tmp_path_factory.mktemp("formats")

    @cache
    def make(pixels: PixelFormat, latents: LatentFormat) -> ClipStore:
        path = folder / f"{pixels}-{latents}"
        with pytest.MonkeyPatch.context() as patch:  # whatever the test has changed that asks first
            patch.setattr(plan, "SHARD_CLIPS", SHARD_CLIPS)
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


@pytest.fixture
def judge(store: ClipStore) -> Iterator[Fragile]:
    """What the trials of `start` are judged by."""
    made = Fragile(store, EvaluationConfig(clips=8, panel_clips=16))
    yield made
    made.close()


@pytest.fixture
def start(store: ClipStore, judge: Fragile, tmp_path: Path) -> Iterator[Start]:
    """Starts a trial as a process of its own would; keyword arguments change its configuration."""
    started: list[SaltTrial] = []

    def make(
        known: float = 0.0, folder: Path = tmp_path, resource: dict[str, Any] | None = None, **changes: Any
    ) -> SaltTrial:
        run = make_run(folder, store, **(resource or {}))
        started.append(SaltTrial(make_trial(known=known, **changes), run, store, lambda: judge))
        return started[-1]

    yield make
    for trial in started:
        trial.close()


@pytest.fixture
def straight(start: Start, tmp_path: Path) -> list[dict[str, Any]]:
    """The reports of a trial that nothing happens to; its files are in straight/."""
    return to_the_end(start(folder=tmp_path / "straight"))
