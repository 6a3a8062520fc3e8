"""Videos whose frames are easily read wrong, through the commands: the store holds the video's own."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.faults.conftest import SMALL, assert_well
from tests.trainable.data.video.kinds import KINDS, X264
from tests.trainable.data.video.stamped import Kind, copy_stream, in_order, write
from trainable.data.store.clip_store import ClipStore
from trainable.data.video.crops import CENTRE, cut_image

Here = Callable[..., subprocess.CompletedProcess[str]]

FFMPEG = shutil.which("ffmpeg")

# Made by the program that most videos of the world went through.
BY_FFMPEG = {
    "cut_between_keyframes.mp4": "-ss 1.3 -i plain.mp4 -t 1.5 -c copy",
    "never_returns.mp4": "-ss 2.7 -i far.mp4 -t 1 -c copy",
    "h264.avi": "-i plain.mp4 -c copy",
    "stream.ts": "-i plain.mp4 -c copy -f mpegts",
    "flash.flv": "-i plain.mp4 -c copy",
    "program.mpg": "-i plain.mp4",
    "windows.wmv": "-i plain.mp4",
    "theora.ogv": "-i plain.mp4 -c:v libtheora -q:v 6",
    "mpeg4_b_frames.avi": "-i plain.mp4 -c:v mpeg4 -q:v 3 -bf 2 -g 30",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of all kinds, and some that were cut without decoding, in two classes."""
    folder = tmp_path_factory.mktemp("odd")
    for number, kind in enumerate(KINDS):
        path = folder / f"class {number % 2}" / f"{number} {kind.name}"
        path.parent.mkdir(exist_ok=True)
        write(path, kind, range(20))
    source = write(folder / "source.mp4", Kind("source.mp4", "libx264", X264 | {"g": "60"}), range(60))
    for ending in ("mp4", "mov", "mkv", "ts"):
        copy_stream(source, folder / "class 0" / f"cut.{ending}.{ending}", start=23)
    source.unlink()
    return folder


@pytest.mark.parametrize("pixels", ["raw", "none"])
def test_a_store_holds_the_frames_of_decoding_in_order(
    pixels: str, folder: Path, here: Here, store_path: Path, tmp_path: Path
) -> None:
    flags = (*SMALL, "--pixels", pixels, "--teacher-weights", store_path, "--workers", 1)
    done = here(folder, "--store", "s", *flags)
    assert_well(done)
    assert_well(here("verify", "s"))
    store = ClipStore.open(tmp_path / "s")
    assert store.manifest["skipped"] == []
    index = pq.read_table(store.path / store.manifest["index"]).to_pylist()
    frames = {row["id"]: row["frames"] for row in index}
    for clips in (store.train, store.val):
        for number, name in enumerate(clips.ids):
            decoded = in_order(folder / clips.videos[number])
            assert frames[name] == store.view.frame_indices(len(decoded)).tolist(), name
            wanted = [cut_image(decoded[index], store.view.size, CENTRE) for index in frames[name]]
            np.testing.assert_array_equal(store.view.to_frames(store.pixels(clips, number)), wanted, err_msg=name)


@pytest.mark.skipif(FFMPEG is None, reason="no ffmpeg program")
def test_as_many_frames_as_the_program_shows(here: Here, store_path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "videos" / "class"
    folder.mkdir(parents=True)
    pattern = "-f lavfi -i testsrc2=s=128x96:r=30:d=4 -pix_fmt yuv420p -c:v libx264"
    run_ffmpeg(folder, f"{pattern} -g 60 plain.mp4")
    run_ffmpeg(folder, f"{pattern} -g 250 far.mp4")
    for name, how in BY_FFMPEG.items():
        run_ffmpeg(folder, f"{how} {name}")
    assert_well(here("videos", "--store", "s", *SMALL, "--teacher-weights", store_path, "--workers", 1))
    store = ClipStore.open(tmp_path / "s")
    assert store.manifest["skipped"] == []
    shown = {row["video"]: row["frames"] for row in pq.read_table(store.path / store.manifest["index"]).to_pylist()}
    assert len(shown) == len(BY_FFMPEG) + 2
    for video, frames in shown.items():
        listed = run_ffmpeg(folder.parent, f"-i {video} -map 0:v:0 -fps_mode passthrough -f framemd5 -")
        count = sum(not line.startswith("#") for line in listed.splitlines())
        assert frames == store.view.frame_indices(count).tolist(), video


def run_ffmpeg(folder: Path, arguments: str) -> str:
    command = [str(FFMPEG), "-nostdin", "-hide_banner", "-loglevel", "error", "-y", *arguments.split()]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=600).stdout
