"""What runs in the processes of a final run on several workers: a worker, and the mailbox between it and the command.

They import little, as they start before anything is trained.
"""

import asyncio
import contextlib
import dataclasses
import threading
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from salt_tune.ray_backend.rank_signs import begin_signs
from trainable.errors import UserError
from trainable.task import find_task
from trainable.worker import Report

if TYPE_CHECKING:
    from ray.actor import ActorHandle


class Mailbox:
    """What the first worker and the command tell each other: an actor with methods that wait without blocking it."""

    def __init__(self) -> None:
        self._post: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self._taken, self._stop = asyncio.Event(), asyncio.Event()
        self._listens = False

    async def report(self, report: Report) -> None:
        """Sends a report, and returns when it has been dealt with."""
        self._taken.clear()
        self._post.put_nowait(("report", report))
        await self._taken.wait()

    async def taken(self) -> None:
        """Says that the last report has been dealt with."""
        self._taken.set()

    async def tell(self, line: str) -> None:
        """Sends a line for people."""
        self._post.put_nowait(("line", line))

    async def end(self, last: Report | None) -> None:
        """Sends what the training returned."""
        self._post.put_nowait(("end", last))

    async def fail(self, error: Exception) -> None:
        """Sends an error that is meant for users."""
        self._post.put_nowait(("error", error))

    async def next(self, seconds: float) -> tuple[str, Any]:
        """Returns what was sent, and its kind; ("", None) where nothing comes within so many seconds."""
        try:
            return await asyncio.wait_for(self._post.get(), seconds)
        except TimeoutError:
            return "", None

    async def stop(self) -> bool:
        """Asks for the end; tells whether the first worker has begun, and will save what it has."""
        self._stop.set()
        return self._listens

    async def stopping(self) -> None:
        """Returns when the end is asked for."""
        self._listens = True
        await self._stop.wait()


def train_rank(told: dict[str, Any]) -> None:
    """Runs in each worker: its part of the training."""
    import ray
    from ray import train

    context, mailbox = train.get_context(), told["mailbox"]
    spec = dataclasses.replace(told["spec"], rank=context.get_world_rank())
    begin_signs(told["signs"], spec.rank)
    stop = Event()
    if spec.rank == 0:
        threading.Thread(target=_listen, args=(mailbox, stop), daemon=True).start()

    def tell(line: str) -> None:
        if spec.rank == 0:
            ray.get(mailbox.tell.remote(line))

    task = find_task(told["task"])
    try:
        final = task.open_final(spec, task.open_data(Path(told["data"])))
        try:
            last = final.train(lambda report: ray.get(mailbox.report.remote(report)), stop, tell)
        finally:
            final.close()
    except (UserError, OSError) as error:  # one line; any other has a traceback
        ray.get(mailbox.fail.remote(error))
        raise
    if spec.rank == 0:
        ray.get(mailbox.end.remote(last))


def _listen(mailbox: "ActorHandle", stop: Event) -> None:
    import ray

    with contextlib.suppress(ray.exceptions.RayError):  # this process ends
        ray.get(mailbox.stopping.remote())
        stop.set()
