"""Throw-away trainings side by side, watched from outside; `trainable.trial.throughput_probe` is the inside."""

import json
import math
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainable.errors import UserError

WINDOW = 3.0  # seconds in which all of them run, at least
STEPS = 8  # of each in the window, at least
PATIENCE = 150.0  # seconds for the start, the warm-up and the window
LOOK_EVERY = 0.05  # seconds

MEMINFO = Path("/proc/meminfo")
CONTAINER = Path("/sys/fs/cgroup")


class OutOfMemory(Exception):  # noqa: N818
    """One of the trainings ran out of memory, or was killed for it."""


class TooSlow(Exception):  # noqa: N818
    """The trainings did not make enough steps in `PATIENCE` seconds."""


@dataclass(frozen=True)
class Pace:
    """How one of several trainings got on.

    Attributes:
        clips_per_second: while all of them ran.
        ram: peak bytes of its own.
        used: bytes of the GPU in use at the end, by whomever; 0 without one.
        at_start: the same when this training had not yet asked for any.
        total: bytes of the GPU.
    """

    clips_per_second: float
    ram: int
    used: int = 0
    at_start: int = 0
    total: int = 0


def run_side_by_side(tasks: Sequence[dict[str, Any]]) -> list[Pace]:
    """Runs trainings until all of them have been seen to train together for a while, and kills them.

    Args:
        tasks: one a training, see `trainable.trial.throughput_probe`.

    Raises:
        OutOfMemory: one of them did not get enough.
        TooSlow: it takes too long to find out.
        UserError: a configuration does not fit the store.
    """
    until = time.monotonic() + PATIENCE
    with ExitStack() as stack:
        trainings = [_Training(task, stack) for task in tasks]
        while (window := _window(trainings)) is None:
            if time.monotonic() > until:
                raise TooSlow
            time.sleep(LOOK_EVERY)
        return [training.pace(*window) for training in trainings]


def _window(trainings: "list[_Training]") -> tuple[float, float] | None:
    """Returns from when to when all of them trained, where that is long enough."""
    for training in trainings:
        training.check()
    if not all(training.lines for training in trainings):
        return None
    start = max(training.lines[0]["time"] for training in trainings)
    end = min(training.lines[-1]["time"] for training in trainings)
    enough = all(training.steps(end) - training.steps(start) >= STEPS for training in trainings)
    return (start, end) if enough and end - start >= WINDOW else None


class _Training:
    """A process, and the lines that it has written so far; it is killed at the end of `stack`."""

    def __init__(self, task: dict[str, Any], stack: ExitStack) -> None:
        self.lines: list[dict[str, Any]] = []
        self._said: dict[str, Any] = {}  # the line that ends it
        self._errors = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))  # noqa: SIM115
        command = [sys.executable, "-m", "trainable.trial.throughput_probe", json.dumps(task)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._errors, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        stack.callback(self._end)

    def _read(self) -> None:
        for text in self._process.stdout or ():
            line = json.loads(text)
            if "time" in line:
                self.lines.append(line)
            else:
                self._said = line

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def check(self) -> None:
        """Raises what went wrong, if it has ended."""
        if self._process.poll() is None:
            return
        self._reader.join()
        if self._said.get("out_of_memory") or self._process.returncode == -signal.SIGKILL:
            raise OutOfMemory
        self._errors.seek(0)
        written = self._errors.read().strip().splitlines()
        raise UserError(self._said.get("error") or f"a training to measure with failed: {(written or ['?'])[-1]}")

    def steps(self, moment: float) -> float:
        """Returns the steps made by `moment`, with the share of the one in progress."""
        lines = self.lines[:]
        after = next((number for number, line in enumerate(lines) if line["time"] >= moment), len(lines) - 1)
        if after == 0:
            return float(lines[0]["step"])
        one, other = lines[after - 1], lines[after]
        share = (moment - one["time"]) / (other["time"] - one["time"])
        return float(one["step"] + share * (other["step"] - one["step"]))

    def pace(self, start: float, end: float) -> Pace:
        """Returns how it got on between two moments."""
        last = self.lines[-1]
        clips = (self.steps(end) - self.steps(start)) * last["clips"]
        gpu = {name: last[name] for name in ("used", "at_start", "total") if name in last}
        return Pace(clips / (end - start), last["ram"], **gpu)


def available_ram() -> float:
    """Returns the bytes that processes may still ask for, of machine and container; infinite where neither says."""
    limits = [math.inf]
    if MEMINFO.exists():
        fields = dict(line.split(":", 1) for line in MEMINFO.read_text(encoding="utf-8").splitlines())
        limits.append(int(fields["MemAvailable"].split()[0]) * 1024)
    try:
        most = int((CONTAINER / "memory.max").read_text(encoding="utf-8"))
        counts = dict(line.split() for line in (CONTAINER / "memory.stat").read_text(encoding="utf-8").splitlines())
        limits.append(most - int(counts["anon"]))
    except (OSError, ValueError, KeyError):  # no container, or one without a limit
        pass
    return min(limits)
