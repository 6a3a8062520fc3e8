"""What a run depends on beside its space and its store: command, code, versions and hardware."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from analysis.run_directory.paths import RunDirectory

PACKAGES: Final = ("salt_tune", "ray", "torch", "timm", "optuna", "numpy", "pyarrow", "av")
MOST_DIFF: Final = 2**20  # bytes of a diff; a larger one is not kept, and said to be too large
PATIENCE: Final = 10  # seconds for a command, such as git on a slow disk
CPU_INFO: Final = Path("/proc/cpuinfo")
GPU_INFO: Final = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True)
class Provenance:
    """What is kept.

    Attributes:
        fields: of run.json: `command`, `versions`, `hardware` and `git`.
        diff: what the working folder has beside its commit; None: nothing, or it is not kept.
    """

    fields: Mapping[str, Any]
    diff: bytes | None


def provenance(run: RunDirectory, *, git: bool = True) -> Provenance:
    """Returns what the run of this process depends on.

    Args:
        run: its directory.
        git: whether to look at the working folder.
    """
    commit, diff = _commit(run) if git else (None, None)
    command = [os.fsencode(word).decode(errors="backslashreplace") for word in sys.argv]
    return Provenance({"command": command, "versions": versions(), "hardware": hardware(), "git": commit}, diff)


def versions() -> dict[str, str | None]:
    """Returns which Python and packages are installed; None where one is only found, as in a checkout."""
    found: dict[str, str | None] = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def hardware() -> dict[str, Any]:
    """Returns the processor, how many cores this process may use, the memory in bytes, and the GPUs' names."""
    info = CPU_INFO.read_text(errors="replace") if CPU_INFO.exists() else ""
    named = re.search(r"^model name\s*: *(.+)$", info, re.MULTILINE)
    return {
        "cpu": named[1].strip() if named else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpus": _gpus(),
        "host": platform.node(),
    }


def _gpus() -> list[str]:
    """Returns the names of NVIDIA's GPUs, from its driver's files, or its tool where a container hides these."""
    names = []
    for folder in sorted(GPU_INFO.glob("*")):
        model = re.search(r"^Model:\s*(.+)$", (folder / "information").read_text(errors="replace"), re.MULTILINE)
        names.append(model[1].strip() if model else "unknown")
    listed = None if names else _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return names or [line.strip() for line in (listed or b"").decode(errors="replace").splitlines() if line.strip()]


def _commit(run: RunDirectory) -> tuple[dict[str, Any] | None, bytes | None]:
    """Returns what git says of the working folder, and its diff."""
    commit = _output("git", "rev-parse", "HEAD")
    if not commit:
        return None, None
    diff = _output("git", "diff", "--binary", "HEAD") or b""
    kept = diff if 0 < len(diff) <= MOST_DIFF else None
    return {
        "commit": commit.decode().strip(),
        "dirty": bool(diff),
        "diff": run.diff.name if kept else None,
        "diff_bytes": len(diff),
    }, kept


def _output(*words: str) -> bytes | None:
    """Returns what a command prints in the working folder; None where there is no such command, or it fails."""
    try:
        done = subprocess.run([*words], capture_output=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
