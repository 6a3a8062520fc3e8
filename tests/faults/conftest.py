"""Videos and helpers for the tests that break a preparation on purpose."""

import functools
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import psutil
import pytest

from tests.conftest import Command, complaints, run_command, start_command

SMALL = ("--frames", 8, "--size", 32, "--patch", 8)
LINKS = 3  # names for each video of `many_videos`
MINUTES = 10 * 60


def start(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    """Starts `python -m salt_tune.prepare ARGUMENTS...` as the leader of its process group, as a shell does."""
    return start_command(folder, "prepare", *arguments, leads=True)


def prepare(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs `python -m salt_tune.prepare ARGUMENTS...` to its end."""
    return run_command(folder, "prepare", *arguments, timeout=MINUTES)


def assert_well(done: subprocess.CompletedProcess[str]) -> None:
    """A command that ended well says nothing on the standard error."""
    assert (done.returncode, complaints(done.stderr)) == (0, ""), f"{done.args}\n{done.stdout}\n{done.stderr}"


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a command that was refused."""
    assert done.returncode == 2, f"{done.args}\n{done.stdout}\n{done.stderr}"
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stderr


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, and its bytes."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def listing(folder: Path) -> set[str]:
    """Every file and folder below a folder, hidden ones too."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Waits until `condition` holds; the test fails where the process ends before."""
    limit = time.monotonic() + MINUTES
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.01)


def survivors(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those of `processes` that still run after some seconds; nobody may be there to reap those that do not."""
    limit = time.monotonic() + 120
    while (alive := list(filter(_runs, processes))) and time.monotonic() < limit:
        time.sleep(0.05)
    return alive


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def write_video(path: Path, frames: int = 8, *, codec: str = "libvpx-vp9", sound: bool = False) -> Path:
    """Writes a small video of noise; no picture at all with no frames."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream(codec, rate=12) if frames else None
        voice = container.add_stream("libopus", rate=48000) if sound else None
        if isinstance(picture, av.VideoStream):
            picture.width = picture.height = 32
            picture.pix_fmt = "yuv420p"
            for number in range(frames):
                image = np.random.default_rng([frames, number]).integers(0, 255, (32, 32, 3), dtype=np.uint8)
                container.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(picture.encode())
        if isinstance(voice, av.AudioStream):
            for number in range(10):
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 1920), np.int16), format="s16", layout="stereo")
                silence.sample_rate, silence.pts = 48000, number * 960
                container.mux(voice.encode(silence))
            container.mux(voice.encode())
    return path


@pytest.fixture
def here(here: Command) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `prepare` in this process, in `tmp_path`."""
    return functools.partial(here, "prepare")


@pytest.fixture
def refused(here: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> Callable[..., str]:
    """Runs a command that must be refused in one line, leaving nothing behind, and gives that line."""

    def run(*arguments: object) -> str:
        before = content(tmp_path), listing(tmp_path)
        line = refusal(here(*arguments))
        assert (content(tmp_path), listing(tmp_path)) == before
        return line

    return run


@pytest.fixture(scope="session")
def many_videos(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """144 clips in two folders, so that a store of them has three shards: each video of `videos` under three names."""
    folder = tmp_path_factory.mktemp("linked")
    for number, path in enumerate(sorted(videos.glob("*.webm"))):
        (folder / f"class {number % 2}").mkdir(exist_ok=True)
        for copy in range(LINKS):
            os.link(path, folder / f"class {number % 2}" / f"{path.stem}-{copy}.webm")
    return folder


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`start`, but what still runs after the test is killed."""
    running: list[subprocess.Popen[str]] = []

    def run(folder: Path, *arguments: object) -> subprocess.Popen[str]:
        running.append(start(folder, *arguments))
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.communicate(timeout=MINUTES)
