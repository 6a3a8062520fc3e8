"""What a node of a cluster says of itself.

These functions go to the node as code, not by name. So a node without this package, or with another version of it, can
answer too. They import what they need inside, of this package nothing at all.
"""

from typing import Any

ANSWERS = ".node-"  # begins the names of the files that nodes write


def examine(folder: str, nonce: str, packages: list[str], node: str) -> dict[str, Any]:
    """Looks at this node.

    Args:
        folder: of runs; it holds a file named `nonce` that contains its own name.
        nonce: the name.
        packages: whose versions and code are asked for.
        node: id of this one.

    Returns:
        `host`; `versions` and `code` by package, None where it is not there; `sees`, whether the nonce can be read;
        `writes`, why the folder cannot be written, "" where it can; `cores`, of the CPU; `memory` and `disk`, bytes
        that are free.
    """
    import os
    import shutil
    import socket
    from pathlib import Path

    where = Path(folder)
    try:
        sees = (where / nonce).read_text(encoding="utf-8") == nonce
    except OSError:
        sees = False
    writes = ""
    try:
        if sees:
            (where / f"{ANSWERS}{node}{nonce}").write_text(nonce, encoding="utf-8")
    except OSError as error:
        writes = error.strerror or str(error)
    return {
        "host": socket.gethostname(),
        "versions": {package: _version(package) for package in packages},
        "code": {package: _code(package) for package in ("salt_tune", "trainable", "analysis")},
        "sees": sees,
        "writes": writes,
        "cores": len(os.sched_getaffinity(0)),
        "memory": _free_memory(),
        "disk": shutil.disk_usage(where).free if sees else 0,
    }


def kill(pid: int) -> None:
    """Kills a process of this node, also one that is stopped."""
    import os
    import signal
    from contextlib import suppress

    with suppress(OSError):
        os.kill(pid, signal.SIGKILL)


def _version(package: str) -> str | None:
    """Returns the release that is installed; "+cpu" and the like say how it was built, and do not count."""
    import sys
    from importlib.metadata import PackageNotFoundError, version

    if package == "python":
        return ".".join(map(str, sys.version_info[:3]))
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return None


def _code(package: str) -> str | None:
    """Returns a hash of a package's Python files; None where it is not there."""
    import hashlib
    from importlib.util import find_spec
    from pathlib import Path

    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None:
        return None
    state, folder = hashlib.sha256(), Path(spec.origin).parent
    for path in sorted(folder.rglob("*.py")):
        state.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return state.hexdigest()


def _free_memory() -> int:
    from pathlib import Path

    for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0
