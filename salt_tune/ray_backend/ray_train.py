"""Ray Train, as a final run needs it: workers that are started and joined, and what their end means."""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

from salt_tune.ray_backend.final_rank import train_rank
from salt_tune.resources.allocation import Resources

NODE_LABEL: Final = "ray.io/node-id"  # that Ray gives each node
RAY_TRAIN: Final = {
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300",  # a busy machine takes more than its 60
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}


class LostError(Exception):
    """Processes of workers died.

    Attributes:
        workers: how many.
    """

    def __init__(self, workers: int) -> None:
        super().__init__(f"{workers} workers died" if workers > 1 else "a worker died")
        self.workers = workers


class HungError(Exception):
    """No worker gave a sign of life, and all were killed."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the workers gave no sign of life for {seconds:.0f} s, and were killed")


def fit(told: dict[str, Any], workers: int, resources: Resources, nodes: Sequence[str], storage: Path) -> "Future[Any]":
    """Has Ray Train run `train_rank` in each worker; returns what becomes of it.

    In a thread, as it waits for the end, and would take Ctrl-C for itself in the main one.

    Args:
        told: to each worker.
        workers: how many.
        resources: of each.
        nodes: ids of those that may have one; empty: all.
        storage: where Ray Train writes.
    """
    os.environ.update(RAY_TRAIN)
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    trainer = TorchTrainer(
        train_rank,
        train_loop_config=told,
        # Groups for flags and gradients, with timeouts that suit them, are made by `trainable.train.ranks`.
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=resources.gpus > 0,
            resources_per_worker={"CPU": resources.cpus, **({"GPU": 1} if resources.gpus else {})},
            label_selector={NODE_LABEL: f"in({','.join(nodes)})"} if nodes else None,
        ),
        run_config=RunConfig(name="final", storage_path=str(storage), failure_config=FailureConfig(max_failures=0)),
    )
    ended: Future[Any] = Future()

    def run() -> None:
        try:
            ended.set_result(trainer.fit())
        except BaseException as error:  # looked at in the main thread
            ended.set_exception(error)

    threading.Thread(target=run, name="ray-train", daemon=True).start()
    return ended


def what_ended(error: BaseException | None) -> BaseException:
    """Returns what an end without a word from the first worker means."""
    from ray.train import WorkerGroupError
    from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError, WorkerHealthCheckTimeoutError

    if isinstance(error, WorkerGroupError):  # of those that were waiting for the dead ones too
        dead = (WorkerHealthCheckFailedError, WorkerHealthCheckTimeoutError)
        if lost := sum(isinstance(failure, dead) for failure in error.worker_failures.values()):
            return LostError(lost)
    return error or RuntimeError("Ray Train ended without an end of the training")
