"""What tasks on a clip store have in common: a base to write another one on; needs no torch."""

import os
from pathlib import Path
from typing import Any

from trainable.data.store.clip_store import ClipStore
from trainable.data.store.dataset import StoreDataset
from trainable.errors import ConfigError
from trainable.task import Task
from trainable.worker import Config, Dataset


class StoreTask(Task):
    """A task on a clip store, with the hyperparameters `batch_size` and `mask_ratio`.

    The section `evaluation` of its spaces has `clips`, the held-out clips at most, and `mask_ratio`.
    `trainable.trial.store_worker.StoreWorker` is a worker for it.
    """

    same_data = ("view_hash", "teacher_sha256", "train_clips", "val_clips")

    def open_data(self, path: Path) -> StoreDataset:
        """See `Task`."""
        return StoreDataset.open(path)

    def damage(self, path: Path) -> str:
        """Compares every row with its checksum; see `Task`."""
        from trainable.data.build.decoding import Decoders
        from trainable.data.maintain.verify import verify

        bad = verify(ClipStore.open(path, whole=False), Decoders(len(os.sched_getaffinity(0))), lambda _: None)
        return f"{len(bad)} rows differ from their checksums, the first of clip {bad[0].id}" if bad else ""

    def check(self, config: Config, data: Dataset) -> None:
        """Checks mask and batch against view and clips; see `Task`."""
        data.geometry[0].check_mask_ratio(config["mask_ratio"])
        if config["batch_size"] > data.train_size:
            words = f"must not exceed the {data.train_size} training clips"
            raise ConfigError("batch_size", config["batch_size"], words)

    def check_evaluation(self, evaluation: dict[str, Any], data: Dataset) -> None:
        """Checks the mask against the view; see `Task`."""
        data.geometry[0].check_mask_ratio(evaluation["mask_ratio"])

    def judged_clips(self, evaluation: dict[str, Any], data: Dataset) -> int:
        """See `Task`."""
        return min(len(data.held_out), int(evaluation["clips"]))
