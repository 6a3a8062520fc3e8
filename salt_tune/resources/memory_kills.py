"""How many processes the kernel has killed because memory ran out, so that such a death can be called what it is."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

KILLS = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def memory_kills(root: Path = Path("/")) -> int:
    """Counts them, of this process's control group or, where that keeps no count, of this machine.

    Args:
        root: of the file system.
    """
    for path in (*_of_the_group(root), root / "proc/vmstat"):
        with contextlib.suppress(OSError):  # the next one says
            if found := KILLS.search(path.read_text()):
                return int(found[1])
    return 0


def _of_the_group(root: Path) -> Iterator[Path]:
    """Yields the files that may have the count, for both versions of control groups."""
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if "memory" in controllers.split(","):
                yield root / "sys/fs/cgroup/memory" / group.lstrip("/") / "memory.oom_control"
            elif not controllers:
                yield root / "sys/fs/cgroup" / group.lstrip("/") / "memory.events"
