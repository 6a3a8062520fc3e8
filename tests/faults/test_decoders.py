"""Videos that hang, crash or starve their decoder: each costs its own clip, by name, and no other."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.conftest import ROOT, complaints
from tests.faults.conftest import MINUTES, SMALL, assert_well, survivors, wait_until, write_video
from tests.trainable.data.video.stamped import Kind, write
from trainable.data.store.clip_store import ClipStore

# What a decoding process loads before anything else: a FFmpeg with bugs that files of some names bring about.
BUGS = """
import sys
if sys.argv[:1] == ["-c"]:
    import ctypes
    import time
    from pathlib import Path

    import av

    whole = av.open

    def broken(path, *arguments, **settings):
        name = Path(path).stem
        if name == "crashes":
            print("Assertion pool failed at buffer.c:12", file=sys.stderr, flush=True)
            ctypes.string_at(0)
        while name == "never ends":
            time.sleep(1)
        return whole(path, *arguments, **settings)

    av.open = broken
"""

Here = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def bugs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bugs").mkdir()
    (tmp_path / "bugs" / "sitecustomize.py").write_text(BUGS)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'bugs'}{os.pathsep}{ROOT}")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Ten good clips in two classes."""
    for number in range(10):
        path = tmp_path / "videos" / f"class {number % 2}" / f"{number}.webm"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, 8 + number)
    return tmp_path / "videos"


def skipped(store: ClipStore) -> dict[str, dict[str, str]]:
    return {clip["id"].partition("/")[2]: clip for clip in store.manifest["skipped"]}


def test_each_costs_its_own_clip(bugs: None, clips: Path, here: Here, store_path: Path, tmp_path: Path) -> None:
    flags = (*SMALL, "--teacher-weights", store_path, "--workers", 2)
    assert_well(here("videos", "--store", "good", *flags))
    for name in ("crashes", "never ends"):
        write_video(clips / "class 0" / f"{name}.webm")
    os.mkfifo(clips / "class 1" / "nothing comes.mp4")
    write(clips / "class 1" / "huge.mkv", Kind("huge.mkv", "mjpeg", pixels="yuvj420p", size=(8192, 8192)), [0, 1])
    done = here("videos", "--store", "all", *flags, "--clip-timeout", 8, "--clip-memory", 0.15)
    assert_well(done)
    store, good = ClipStore.open(tmp_path / "all"), ClipStore.open(tmp_path / "good")
    lost = skipped(store)
    reasons = {name: clip["reason"].rpartition(": ")[2] for name, clip in lost.items()}
    assert reasons == {
        "crashes": "brings its process down (SIGSEGV)",
        "never ends": "takes longer than 8 s",
        "nothing comes": "takes longer than 8 s",
        "huge": "needs more memory to decode than it may take",
    }
    for name in reasons:
        assert f"{name}: " in done.stdout
    assert lost["crashes"]["log"] == "Assertion pool failed at buffer.c:12"
    assert {*store.train.ids, *store.val.ids} == {*good.train.ids, *good.val.ids}
    for clips_of in (store.train, store.val):
        for number, name in enumerate(clips_of.ids):
            other = next(split for split in (good.train, good.val) if name in split.ids)
            np.testing.assert_array_equal(store.pixels(clips_of, number), good.pixels(other, other.ids.index(name)))


def test_a_long_clip_gets_the_time_that_it_needs(here: Here, clips: Path, store_path: Path, tmp_path: Path) -> None:
    """Without --clip-timeout the limit follows from the clip: here 30 s and more, which nothing of it needs."""
    write(clips / "class 0" / "long.mp4", Kind("", "mpeg4"), range(2000))
    assert_well(here("videos", "--store", "s", *SMALL, "--teacher-weights", store_path, "--workers", 2))
    assert ClipStore.open(tmp_path / "s").manifest["skipped"] == []


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [
        (signal.SIGINT, 130, "interrupted"),
        pytest.param(signal.SIGTERM, 143, "terminated", marks=pytest.mark.slow),  # as in ui/test_signals.py
    ],
)
def test_a_stop_is_obeyed_while_all_decoders_hang(
    number: int,
    code: int,
    word: str,
    clips: Path,
    store_path: Path,
    tmp_path: Path,
    started: Callable[..., subprocess.Popen[str]],
) -> None:
    pipes = [clips / "class 0" / f"{clip}.mp4" for clip in ("0 one", "0 two")]
    for pipe in pipes:
        os.mkfifo(pipe)
    flags = (*SMALL, "--teacher-weights", store_path, "--workers", 2, "--clip-timeout", 3600)
    process = started(tmp_path, "videos", "--store", "s", *flags)
    writers: list[int] = []
    wait_until(lambda: any(read_by_a_decoder(pipe, writers) for pipe in pipes), process)
    workers = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=MINUTES)
    assert (process.returncode, complaints(errors).strip()) == (code, word)
    assert survivors(workers) == []
    for writer in writers:
        os.close(writer)


def read_by_a_decoder(pipe: Path, writers: list[int]) -> bool:
    """Whether somebody waits for what comes out of a pipe; it stays open from then on, and nothing comes."""
    with contextlib.suppress(OSError):  # without a reader it cannot be opened
        writers.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        return True
    return False


def test_the_log_of_a_skipped_clip_is_in_the_manifest(
    here: Here, clips: Path, store_path: Path, tmp_path: Path
) -> None:
    path = write(clips / "class 0" / "damaged.flv", Kind("", "flv1", container="flv"), range(40))
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 300] = bytes(300)
    path.write_bytes(content)
    done = here("videos", "--store", "s", *SMALL, "--teacher-weights", store_path, "--workers", 1)
    assert_well(done)
    (clip,) = json.loads((tmp_path / "s" / "manifest.json").read_text())["skipped"]
    assert clip["log"].startswith("flv: ")
    assert "is damaged" in clip["reason"]
