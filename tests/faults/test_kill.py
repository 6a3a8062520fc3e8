"""A preparation that is killed or interrupted, at any moment, goes on to the very store of one that is not."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.conftest import complaints
from tests.faults.conftest import MINUTES, SMALL, assert_well, content, survivors, wait_until

Start = Callable[..., subprocess.Popen[str]]
Here = Callable[..., subprocess.CompletedProcess[str]]

# What to wait for, and how many seconds beyond it a kill comes at most: every stage is hit, at any of its moments.
MOMENTS = {
    "trained": (("plan.json", 1.0), ("shards/*.pixels.json", 0.6), ("teacher", 0.8), ("shards/*.latents.json", 0.1)),
    "given": (("plan.json", 0.8), ("*.tmp", 0.2), ("shards/*.pixels.json", 0.3), ("shards/*.pixels.json", 0.05)),
}
# The kill tests of test_builder.py, of several formats, run by default.
FLOWS = [
    pytest.param("trained", ("--teacher-epochs", 3), id="pixel teacher trained here", marks=pytest.mark.slow),
    pytest.param("given", ("--teacher-weights", "STORE"), id="teacher given", marks=pytest.mark.slow),
    pytest.param(
        "given",
        ("--teacher-weights", "STORE", "--views", 2, "--pixels", "jpeg", "--latents", "int8"),
        id="two views as jpeg and int8",
        marks=pytest.mark.slow,
    ),
]


def kill_at(partial: Path, pattern: str, delay: float, process: subprocess.Popen[str]) -> None:
    wait_until(lambda: any(partial.glob(pattern)) or any(partial.glob(f".{pattern}")), process)
    time.sleep(delay)
    process.kill()
    process.communicate(timeout=MINUTES)  # ends when the workers have, which hold its output open


@pytest.mark.parametrize(("kind", "flags"), FLOWS)
def test_killed_at_random_moments(
    kind: str,
    flags: tuple[object, ...],
    many_videos: Path,
    store_path: Path,
    tmp_path: Path,
    started: Start,
    here: Here,
) -> None:
    flags = tuple(store_path if flag == "STORE" else flag for flag in flags)
    assert_well(here(many_videos, "--store", "whole/store", *SMALL, *flags, "--workers", 1))
    arguments = (many_videos, "--store", "store", *SMALL, *flags)
    draw = random.Random(f"{kind} {len(flags)}")  # noqa: S311
    killed = 0
    for pattern, longest in MOMENTS[kind]:
        process = started(tmp_path, *arguments, "--workers", 2)
        kill_at(tmp_path / "store.partial", pattern, draw.uniform(0, longest), process)
        killed += process.returncode == -signal.SIGKILL
        if (tmp_path / "store").exists():
            break
    assert killed >= 3
    assert_well(here(*arguments, "--workers", 2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store", "whole"]
    assert content(tmp_path / "store") == content(tmp_path / "whole" / "store")


@pytest.mark.slow  # test_decoders.py interrupts a preparation by default
def test_interrupted(many_videos: Path, store_path: Path, tmp_path: Path, started: Start, here: Here) -> None:
    arguments = (many_videos, "--store", "store", *SMALL, "--teacher-weights", store_path, "--workers", 2)
    partial = tmp_path / "store.partial"
    draw, codes = random.Random(7), []  # noqa: S311
    for everybody, pattern, longest in ((True, "plan.json", 0.5), (False, "*.tmp", 0.2), (True, "shards/*.json", 0.1)):
        process = started(tmp_path, *arguments)
        wait_until(lambda pattern=pattern: any(partial.glob(pattern)) or any(partial.glob(f".{pattern}")), process)  # type: ignore[misc]
        time.sleep(draw.uniform(0, longest))
        children = psutil.Process(process.pid).children(recursive=True)
        if everybody:  # as Ctrl-C on a terminal does
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=MINUTES)
        assert survivors(children) == []
        codes.append(process.returncode)
        if codes[-1] == 0:  # it came to its end first
            break
        assert (codes[-1], complaints(errors).strip()) == (130, "interrupted")
        assert not any(partial.rglob(".*.tmp"))
    assert codes.count(130) >= 2
    assert_well(here(*arguments))
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
