"""Watches what a command on a cluster stands on: the head, and Ray on the command's own machine.

Without its head, Ray ends the process after a minute, with words of its own; without a Ray on this machine, it waits
for ever. Both are told of here before that.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from analysis.text import printable
from salt_tune.ray_backend.cluster_address import answers
from salt_tune.ui.console import USER_ERROR
from trainable.errors import UserError

ASK_SECONDS: Final = 5.0  # between looks
SILENT_SECONDS: Final = 20.0  # of the head, until it counts as dead; Ray itself waits for 60
LEAVE_SECONDS: Final = 20.0  # that the command has to end by itself, as it may wait for an answer of Ray


class ClusterWatch:
    """Tells whether a cluster is still there.

    Args:
        address: of its head, HOST:PORT.
        node: id of the node that this process is a driver of.
        then: what follows when Ray has been started again, such as `RESUME`.
    """

    def __init__(self, address: str, node: str, then: str) -> None:
        self._address, self._node, self._then = address, node, then
        self._why: str | None = None
        self._over = threading.Event()

    def check(self) -> None:
        """Does nothing as long as it is there.

        Raises:
            UserError: it is gone.
        """
        if self._why is not None:
            raise UserError(self._why)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watches in a thread, which ends the process where it hears of nothing any more."""
        threading.Thread(target=self._watch, name="cluster", daemon=True).start()
        try:
            yield
        finally:
            self._over.set()

    def _watch(self) -> None:
        answered = time.monotonic()
        while not self._over.wait(ASK_SECONDS):
            if answers(self._address):
                answered = time.monotonic()
                what = None if self._lives() else "Ray on this machine has died"
            else:
                silent = time.monotonic() - answered
                what = "the head of the cluster does not answer any more" if silent > SILENT_SECONDS else None
            if what is not None:
                self._why = f"--address = {self._address}: {what}; start Ray again, then {self._then}"
                break
        if self._why is not None and not self._over.wait(LEAVE_SECONDS):
            print(f"error: {printable(self._why)}", file=sys.stderr, flush=True)
            os._exit(USER_ERROR)

    def _lives(self) -> bool:
        """Tells whether the head takes this machine's node for alive."""
        import ray

        try:
            return any(row["Alive"] for row in ray.nodes() if row["NodeID"] == self._node)
        except (RuntimeError, OSError, ray.exceptions.RayError):  # the head has just died
            return True
