"""The final run on several workers: Ray Train starts and joins them, and their reports come here one by one.

Ray Train can neither tell its driver of a report nor ask its workers to stop. A mailbox, an actor, does both. The
checkpoint is the training's own, so that any number of workers goes on from it.
"""

import contextlib
import dataclasses
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Final

from salt_tune.ray_backend.cluster import Cluster
from salt_tune.ray_backend.final_rank import Mailbox
from salt_tune.ray_backend.nodes import only_on
from salt_tune.ray_backend.rank_signs import RankSigns
from salt_tune.ray_backend.ray_train import HungError, LostError, fit, what_ended
from salt_tune.ray_backend.session import count_gpus, ray_session
from salt_tune.ray_backend.signs_of_life import longest_silence
from salt_tune.resources.allocation import Resources
from salt_tune.ui.format import counted
from salt_tune.ui.full_disk import RUN_AGAIN
from trainable.errors import UserError
from trainable.heartbeat import SILENT_SECONDS
from trainable.task import Task
from trainable.worker import Config, Dataset, FinalSpec, Report

LOOKS_UP: Final = 0.5  # seconds; a signal is heard no later
HANGS: Final = 3  # in a row, without a new report, that are gone on from
ENDING_SECONDS: Final = 30.0  # that Ray Train may take to end its workers after they are done


def check_workers(task: Task, config: Config, workers: int, *, on_cluster: bool = False) -> None:
    """Refuses a number of workers that cannot share a final run.

    Args:
        task: what is trained.
        config: hyperparameters of the run.
        workers: how many, at least 1, which is always right.
        on_cluster: whether this machine's cores and GPUs do not count.

    Raises:
        UserError: says what would be right.
    """
    if workers == 1:
        return
    wrong = f"--workers = {workers}: "
    if not task.data_parallel:
        raise UserError(f"{wrong}a final run of {task.name} cannot be shared; leave it out")
    cores, gpus = len(os.sched_getaffinity(0)), count_gpus()
    if not on_cluster and workers > (gpus or cores):
        has = f"{gpus} GPU{'s' * (gpus > 1)}" if gpus else f"no GPU, and {cores} core{'s' * (cores > 1)}"
        raise UserError(f"{wrong}this machine has {has}; each worker needs one of its own")
    if workers > config["batch_size"]:
        rows = config["batch_size"]
        raise UserError(f"{wrong}must not exceed batch_size = {rows}, as each takes rows of every batch")


class SharedFinal:
    """A final training that several processes share; see `trainable.worker.FinalRun`.

    Args:
        task: what is trained.
        spec: how; its `threads` are those of all workers together.
        data: on what.
        workers: how many; see `check_workers`.
        cluster: address of one on whose nodes they run; None: on this machine.
        silence: seconds that none of them may give a sign of life.
    """

    def __init__(
        self,
        task: Task,
        spec: FinalSpec,
        data: Dataset,
        workers: int,
        cluster: str | None = None,
        silence: float = SILENT_SECONDS,
    ) -> None:
        self._task, self._workers, self._cluster, self._silence = task, workers, cluster, silence
        self._dataset, self._data = data, data.path.absolute()
        baselines = spec.baselines.absolute() if spec.baselines else None
        self._spec = dataclasses.replace(spec, folder=spec.folder.absolute(), baselines=baselines)

    def train(self, on_report: Callable[[Report], None], stop: Event, tell: Callable[[str], None]) -> Report | None:
        """See `FinalRun`. Where workers are lost, those that remain go on from the last checkpoint.

        Where they hang, all are killed, and as many go on from there.

        Raises:
            UserError: as of `FinalRun`, or all workers were lost, or they hung again and again.
        """
        with self._session() as ground:
            remaining, hangs, furthest = self._workers, 0, 0.0

            def reported(report: Report) -> None:
                nonlocal hangs, furthest
                if report["epoch"] > furthest:  # one that is made again, after a hang before its checkpoint, is none
                    hangs, furthest = 0, report["epoch"]
                on_report(report)

            while not stop.is_set():
                try:
                    return self._attempt(remaining, ground, reported, stop, tell)
                except HungError as hung:
                    hangs += 1
                    if hangs > HANGS:
                        again = f"{hangs} times in a row; the same command goes on {self._where}"
                        raise UserError(f"{hung}, {again}") from hung
                    tell(f"{hung}; going on {self._where}")
                except LostError as lost:
                    remaining -= lost.workers
                    if remaining < 1:
                        raise UserError(f"{lost}, and none is left; the same command goes on {self._where}") from lost
                    tell(f"{lost}; going on with {remaining} of {self._workers}, {self._where}")
        return None

    @contextlib.contextmanager
    def _session(self) -> "Iterator[_Ground]":
        """Opens Ray."""
        if self._cluster is None:
            gpus = 1 if count_gpus() else 0
            resources = Resources(self._workers, max(1, self._spec.threads // self._workers), gpus)
            with ray_session(resources) as folder:
                yield _Ground(resources, [], folder / "train")
            return
        folder = self._spec.folder
        with Cluster(self._cluster, then=RUN_AGAIN).session(folder, self._task, self._dataset) as nodes:
            gpus = 1 if any(node.all_gpus for node in nodes) else 0
            most = sum(node.all_gpus if gpus else node.cores for node in nodes)
            if self._workers > most:
                what = "GPU" if gpus else "core"
                raise UserError(
                    f"--workers = {self._workers}: the cluster has {counted(most, what)}; "
                    "each worker needs one of its own"
                )
            # As many threads as each can have, wherever they come to lie.
            share = min(node.cores // math.ceil(self._workers / len([*nodes])) for node in nodes)
            storage = Path(tempfile.mkdtemp(prefix=".ray-train-", dir=folder))
            try:
                each = Resources(self._workers, max(1, share), gpus)
                yield _Ground(each, [node.id for node in nodes], storage, nodes.check)
            finally:
                shutil.rmtree(storage, ignore_errors=True)

    def close(self) -> None:
        """See `FinalRun`: everything ends with `train`."""

    @property
    def _where(self) -> str:
        return "from the last checkpoint" if self._spec.checkpoint.exists() else "from the start"

    def _attempt(
        self,
        workers: int,
        ground: "_Ground",
        on_report: Callable[[Report], None],
        stop: Event,
        tell: Callable[[str], None],
    ) -> Report | None:
        """Trains with so many workers, from the last checkpoint.

        Raises:
            LostError: some of them died.
            HungError: they hung.
            UserError: their cluster did.
        """
        import ray

        here = only_on(ray.get_runtime_context().get_node_id())
        mailbox = ray.remote(num_cpus=0, scheduling_strategy=here)(Mailbox).remote()
        spec = dataclasses.replace(self._spec, workers=workers, threads=ground.resources.cpus)
        ground.storage.mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="signs-", dir=ground.storage))
        told = {"task": self._task.name, "data": str(self._data), "spec": spec, "mailbox": mailbox, "signs": folder}
        ended = fit(told, workers, ground.resources, ground.nodes, ground.storage)
        signs, asked, step_seconds, hung = RankSigns(folder), False, None, 0.0
        while True:
            ground.check()
            if not hung and (silent := signs.silent()) > longest_silence(self._silence, step_seconds):
                hung = silent
                signs.kill()
            if stop.is_set() and not asked:
                if not ray.get(mailbox.stop.remote()):
                    return None
                asked = True
            over = ended.done()  # whatever was sent before that is there
            kind, content = ray.get(mailbox.next.remote(LOOKS_UP))
            if kind == "report":
                on_report(content)
                step_seconds = content.get("step_seconds")
                mailbox.taken.remote()
            elif kind == "line":
                tell(content)
            elif kind == "end":
                with contextlib.suppress(TimeoutError):  # all is written
                    ended.exception(ENDING_SECONDS)
                last: Report | None = content
                return last
            elif kind == "error":
                raise content
            elif over and hung:
                raise HungError(hung)
            elif over:
                raise what_ended(ended.exception())


@dataclasses.dataclass(frozen=True)
class _Ground:
    """What a shared final run stands on.

    Attributes:
        resources: of each worker.
        nodes: ids of those that may have one; empty: this machine.
        storage: where Ray Train writes.
        check: raises a `UserError` once the cluster is gone.
    """

    resources: Resources
    nodes: list[str]
    storage: Path
    check: Callable[[], None] = lambda: None
