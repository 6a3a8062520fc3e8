"""`benchmarks/gpu.sh` says in one line that there is no GPU, and lets no part end the others."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

# Stands in for Python on a machine with a GPU: the tests fail, packing does not end, all else is well.
STAND_IN = """#!/bin/sh
echo "$*" >> calls
case "$*" in
  *pytest*) exit 1 ;;
  *packing*) exit 124 ;;
esac
"""


def run_script(python: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(ROOT / "benchmarks" / "gpu.sh")],  # noqa: S607
        env={**os.environ, "PYTHON": str(python), **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_without_a_gpu_it_says_so_in_one_line() -> None:
    for python in (sys.executable, "/no/such/python"):
        done = run_script(python, CUDA_VISIBLE_DEVICES="")
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
        assert "finds no CUDA GPU" in done.stderr


def test_a_part_that_fails_does_not_end_the_others(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(STAND_IN.replace("calls", str(tmp_path / "calls")), encoding="utf-8")
    python.chmod(0o755)
    done = run_script(python)
    assert done.returncode == 1
    table = done.stdout.split("\n\n")[-1].splitlines()
    assert [line.split("  ")[-1] for line in table] == ["outcome", "failed", "ok", "out of time (105 s)", "ok"]
    calls = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    assert [call.split()[1] for call in calls[1:]] == [
        "pytest", "benchmarks.step", "benchmarks.packing", "benchmarks.prepare"]  # fmt: skip
