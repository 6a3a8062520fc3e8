"""A disk that fills up during a search: one line, and when there is room again the search goes on."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.kills import course
from tests.conftest import complaints, environment_of_commands
from tests.faults.searching import MINUTES, command
from tests.toy_task import SPACE

# Fills the disk after the second report, whatever is deleted on it, until the search has given up; then resumes it.
FILLS = """
mount -t tmpfs -o size=48m tmpfs disk && cd disk || exit 99
(until [ "$(cat full/reports.jsonl 2>/dev/null | wc -l)" -ge 2 ]; do sleep 0.01; done
 until [ -e ../first.code ]; do cat /dev/zero >> film 2>/dev/null; sleep 0.01; done) &
sh -c "$SEARCH" > ../first.out 2> ../first.err; echo $? > ../first.code
wait; rm film
sh -c "$RESUME" > ../second.out 2> ../second.err; echo $? > ../second.code
cp -r full ..
"""


def test_it_goes_on_when_there_is_room_again(tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-Urm", "sh", "-c", "mount -t tmpfs tmpfs /mnt"], check=False).returncode:  # noqa: S607
        pytest.skip("this machine lets no user mount a disk of their own")
    (tmp_path / "disk").mkdir()
    words = [sys.executable, "-m", "salt_tune.search"]
    words += command(tmp_path, tmp_path, "full", {**SPACE, "fixed": {"seconds": 1.0}})
    words[words.index("--space") + 1] = str(tmp_path / "full.yaml")
    again = [sys.executable, "-m", "salt_tune.search", "--resume", "full"]
    subprocess.run(
        ["unshare", "-Urm", "sh", "-c", FILLS],  # noqa: S607
        cwd=tmp_path, env={**environment_of_commands(), "SEARCH": shlex.join(words), "RESUME": shlex.join(again)},
        capture_output=True, timeout=MINUTES, check=False,
    )  # fmt: skip
    said = {name: (tmp_path / name).read_text() for name in ("first.out", "first.err", "first.code", "second.err")}
    assert said["first.code"] == "2\n", said
    error = complaints(said["first.err"])
    assert error.startswith("error: ") and error.count("\n") == 1, said["first.err"]
    assert "No space left on device; free some space, then resume the search" in error
    assert "To go on: python -m salt_tune.search --resume " in said["first.out"]
    assert ((tmp_path / "second.code").read_text(), complaints(said["second.err"])) == ("0\n", ""), said
    found: dict[str, Any] = course(tmp_path / "full")
    assert found["trained more than once"] == []
    assert set(found["states"]) <= {"complete", "pruned"}
    assert found["checkpoints"] == sorted(f"{trial}.safetensors" for trial in found["tied"])
    shutil.rmtree(tmp_path / "full")
