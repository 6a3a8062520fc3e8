"""Whether a worker gets on: it is hung where its file has not been touched for too long; see `trainable.heartbeat`."""

import contextlib
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SILENT_STEPS: Final = 20


def longest_silence(seconds: float, step_seconds: float | None) -> float:
    """Returns how long a worker may be silent: so many seconds, or the time of 20 steps where that is longer.

    Args:
        seconds: as asked for.
        step_seconds: time of a training step; None or NaN before the first.
    """
    steps = SILENT_STEPS * (step_seconds or 0.0)
    return max(seconds, steps) if math.isfinite(steps) else seconds


@dataclass
class SignsOfLife:
    """The signs of one worker, as they are seen from here: clocks of other machines play no part.

    Args:
        file: that the worker touches.
    """

    file: Path
    _changed: int = -1  # as the file system has it
    _seen: float = 0.0  # when that was new

    @property
    def any(self) -> bool:
        """Whether there has been one."""
        return self._changed >= 0

    def begin(self) -> None:
        """Begins to count anew: the worker has something to do from now on."""
        self._seen = time.monotonic()

    def silent(self) -> float:
        """Returns the seconds since the last sign that was new."""
        with contextlib.suppress(OSError):  # not there yet, or its disk does not answer: no sign either way
            if (changed := self.file.stat().st_mtime_ns) != self._changed:
                self._changed, self._seen = changed, time.monotonic()
        return time.monotonic() - self._seen

    @property
    def pid(self) -> int | None:
        """The worker's number on its node; None where it has not given it yet."""
        try:
            return int(json.loads(self.file.read_text(encoding="utf-8"))["pid"])
        except (OSError, ValueError):
            return None
