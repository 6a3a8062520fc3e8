"""Which process holds a lock, as the lock's file says: told from a later process of the same number."""

import json
import os
import socket
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Holder:
    """A process that has taken a lock.

    Attributes:
        pid: its number.
        started: when it started, in clock ticks since its machine did; a later process of its number has another.
        host: name of its machine.
        boot: id of its machine's last start; containers on one machine share it.
        since: when it took the lock, ISO 8601.
        goes_on: words of the command that goes on with what it does, beside the run.
        until: when it gave the lock back; None: it has it, or was killed with it.
    """

    pid: int
    started: int
    host: str
    boot: str
    since: str
    goes_on: tuple[str, ...] = ()
    until: str | None = None

    @classmethod
    def this_process(cls, goes_on: tuple[str, ...] = ()) -> "Holder":
        """Returns this process, which takes a lock now; see the class for `goes_on`."""
        return cls(os.getpid(), _started(os.getpid()) or 0, socket.gethostname(), _boot(), _now(), goes_on)

    def leaving(self) -> "Holder":
        """Returns the same process as it gives the lock back."""
        return replace(self, until=_now())

    @classmethod
    def read(cls, path: Path) -> "Holder | None":
        """Reads which process took a lock last; None where its file is not there, or does not say."""
        try:
            fields = json.loads(path.read_bytes().partition(b"\n")[0])
            found = cls(**{**fields, "goes_on": tuple(map(str, fields["goes_on"]))})
            for time in filter(None, (found.since, found.until)):
                datetime.fromisoformat(time)
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None
        return found if isinstance(found.pid, int) and found.pid > 0 else None

    def line(self) -> bytes:
        """Returns what `read` reads."""
        return (json.dumps(asdict(self)) + "\n").encode()

    @property
    def alive(self) -> bool:
        """Whether this very process runs, and can be seen from here."""
        return self.boot == _boot() and _started(self.pid) == self.started

    def __str__(self) -> str:
        """Returns its number, and its host where that is not this one."""
        return f"{self.pid}" if self.alive or self.host == socket.gethostname() else f"{self.pid} on host {self.host}"


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _boot() -> str:
    return BOOT_ID.read_text().strip() if BOOT_ID.exists() else ""


def _started(pid: int) -> int | None:
    """Returns when a process of this machine started; None: there is none, or it only waits to be buried."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return None if state in ("Z", "X") else int(fields[18])  # field 22 of proc(5)
