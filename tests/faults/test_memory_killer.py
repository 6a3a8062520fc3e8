"""A search in a control group with little memory: the kernel kills a worker, and the line says so."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import complaints, environment_of_commands
from tests.salt_tune.conftest import MINUTES, read_json, read_reports
from tests.toy_task import SPACE

LIMIT = 3 * 10**9  # bytes; Ray and two workers take half of it


def _parents() -> Iterator[tuple[Path, str]]:
    """Yields folders in which a control group of memory may be made, and the file of its limit; of both versions."""
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, group = line.split(":", 2)
        if "memory" in controllers.split(","):
            yield Path("/sys/fs/cgroup/memory") / group.lstrip("/"), "memory.limit_in_bytes"
        elif not controllers:
            yield Path("/sys/fs/cgroup") / group.lstrip("/"), "memory.max"


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group with a limit; gone at the end."""
    for parent, limit in _parents():
        folder = parent / f"salt-tune-test-{os.getpid()}"
        with contextlib.suppress(OSError):
            folder.mkdir()
            try:
                (folder / limit).write_text(str(LIMIT))
                yield folder
            finally:
                until = time.monotonic() + 30
                while folder.exists() and time.monotonic() < until:
                    with contextlib.suppress(OSError):  # its last processes are on their way out
                        folder.rmdir()
                    time.sleep(0.1)
            return
    pytest.skip("no control group of memory can be made here")


@pytest.mark.slow
def test_the_kernels_memory_killer_is_named(group: Path, tmp_path: Path) -> None:
    points = [{"lr": 1e-3}, {"lr": 2e-3, "fate": "hungry", "at": 0.5}]
    schedule = {"scheduler": "none", "epochs": 1, "reports": 4}
    space = {**SPACE, "parameters": {}, "start_from": points, "trials": 2, "schedule": schedule}
    (tmp_path / "toy.json").write_text(json.dumps(space), encoding="utf-8")
    words = ["--space", "toy.json", "--store", ".", "--runs", ".", "--name", "run", "--concurrent", "2"]
    join = f"import os, sys; open({str(group / 'cgroup.procs')!r}, 'w').write(str(os.getpid())); "
    run = "os.execv(sys.executable, [sys.executable, '-m', 'salt_tune.search', *sys.argv[1:]])"
    done = subprocess.run(
        [sys.executable, "-c", join + run, *words, "--replicates", "0"],
        # Ray's own killer looks at the memory, too, and would be first.
        cwd=tmp_path, env={**environment_of_commands(), "RAY_memory_monitor_refresh_ms": "0"},
        capture_output=True, text=True, timeout=MINUTES, check=False,
    )  # fmt: skip
    assert (done.returncode, complaints(done.stderr)) == (0, ""), done.stdout
    lines = [line.partition("  ")[2] for line in done.stdout.splitlines() if "memory ran out" in line]  # after the time
    assert lines == ["T1   its process was killed because memory ran out; goes on from 0.25 epochs in a new process"]
    assert [trial["state"] for trial in read_json(tmp_path / "run" / "summary.json")["trials"]] == ["complete"] * 2
    assert len(read_reports(tmp_path / "run" / "reports.jsonl")) == 8
