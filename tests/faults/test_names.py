"""Names that a terminal would obey: shown in every line that names them, and obeyed in none."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from analysis.text import printable
from tests.faults.conftest import SMALL, assert_well, write_video
from trainable.data.store.clip_store import ClipStore

Run = Callable[..., subprocess.CompletedProcess[str]]

NAMES = (
    "\x1b[2Jgone",
    "two\nlines",
    "a\ttab",
    "bell\x07",
    "c1\x9b31m",
    "gpj.\u202etrap",
    "line\u2028sep",
    r"$\frac$",
    "^_",
    "[red]x",
)


@pytest.fixture(scope="module")
def made(videos: Path, store_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `videos`, of which one does not decode, and a store of them."""
    folder = tmp_path_factory.mktemp("names")
    files = iter(sorted(videos.glob("*.webm")))
    for parent in NAMES:
        (folder / "videos" / parent).mkdir(parents=True)
        for name in NAMES[:4]:
            shutil.copy(next(files), folder / "videos" / parent / f"{name}.webm")
    (folder / "videos" / NAMES[0] / "\x1b]0;owned\x07.webm").write_bytes(b"no video")
    return folder


def assert_plain(done: subprocess.CompletedProcess[str]) -> None:
    """Fails where a control character went through, but for the ends of lines."""
    for said in (done.stdout, done.stderr):
        assert [printable(line) for line in said.split("\n")] == said.split("\n")


def test_from_videos_to_a_damaged_row(here: Run, made: Path, store_path: Path, tmp_path: Path) -> None:
    store = tmp_path / "st\x1b[31more"
    done = here(made / "videos", "--store", store, *SMALL, "--teacher-weights", store_path, "--workers", 1)
    assert_well(done)
    assert_plain(done)
    assert r"skipped \x1b[2Jgone/\x1b]0;owned\x07: " in done.stdout and r"st\x1b[31more: " in done.stdout
    assert len(done.stdout.splitlines()) < 13, "names break no line"
    opened = ClipStore.open(store)
    assert opened.labels == sorted(NAMES)
    assert {*opened.train.ids, *opened.val.ids} == {f"{p}/{n}" for p in NAMES for n in NAMES[:4]}

    done = here("inspect", store)
    assert_well(done)
    assert_plain(done)
    assert r"\x1b[2Jgone 4" in done.stdout
    with Image.open(store / "inspect" / "contact-sheet.png") as picture:
        picture.load()

    with (store / "train-00000.pixels.npy").open("r+b") as file:
        file.seek(5000)
        file.write(bytes(64))
    done = here("verify", store)
    assert done.returncode == 1
    assert_plain(done)
    damaged = next(
        name for clips in (opened.train,) for name, row in zip(clips.ids, clips.rows, strict=True) if row == 0
    )
    assert f"row 0: clip {printable(damaged)}, pixels: differs from its checksum" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("\x1b[2J\nnowhere",), r"\x1b[2J\nnowhere: there is no such folder"),
        (("inspect", "a\x07\x9b1mb"), r"a\x07\x9b1mb: no such clip store"),
        (("--\x1b[2Jflag",), r"\x1b[2Jflag"),
        (("x", "--group-by", "\x1b[2J("), r"'\x1b[2J('"),
        (("verify", b"caf\xe9\xff"), r"caf\xe9\xff: is not UTF-8"),
    ],
)
def test_an_error_shows_what_it_names(refused: Callable[..., str], arguments: tuple[object, ...], said: str) -> None:
    line = refused(*(os.fsdecode(part) if isinstance(part, bytes) else part for part in arguments))
    assert said in line
    assert printable(line.removesuffix("\n")) == line.removesuffix("\n")


@pytest.fixture
def scenes(tmp_path: Path, videos: Path) -> Path:
    """20 clips of two classes, each of five scenes."""
    folder, files = tmp_path / "videos", iter(sorted(videos.glob("*.webm")))
    for label in "ab":
        (folder / label).mkdir(parents=True)
        for scene in range(5):
            for take in range(2):
                shutil.copy(next(files), folder / label / f"{label}{scene}_{take}.webm")
    return folder


def test_scenes_stay_whole_and_copies_are_named(here: Run, scenes: Path, store_path: Path, tmp_path: Path) -> None:
    flags = ("--store", "store", *SMALL, "--teacher-weights", store_path, "--workers", 1)
    shutil.copy(scenes / "a" / "a0_0.webm", scenes / "b" / "b0_0.webm")
    done = here(scenes, *flags, "--group-by", r"(\w+)_\d$", "--val-fraction", 0.2)
    assert_well(done)
    assert r"10 groups by (\w+)_\d$: 2 of them held out, 4 of 20 clips" in done.stdout
    store = ClipStore.open(tmp_path / "store")
    torn = ("a/a0_0" in store.val.ids) != ("b/b0_0" in store.val.ids)
    copies = f"warning: a/a0_0 ({side(store, 'a/a0_0')}) = b/b0_0 ({side(store, 'b/b0_0')})"
    assert (copies if not torn else "warning: ") in done.stderr
    assert ("on both sides of the split" in done.stderr) == torn

    told = here("inspect", "store").stdout
    assert r"groups    10 grouped by the pattern '(\w+)_\d$', 2 of them held out" in told
    assert f"copies    of 1, {int(torn)} on both sides of the split; first " in told

    again = here(scenes, *flags, "--val-fraction", 0.2)
    assert again.returncode == 2 and "holds a clip store prepared otherwise" in again.stderr

    write_video(scenes / "a" / "a1_9.webm", 9)
    shutil.copy(scenes / "a" / "a2_0.webm", scenes / "b" / "b2_9.webm")
    done = here("append", scenes, "--store", "store", "--workers", 1)
    assert_well(done)
    assert "store: 20 of 22 clips are in the store already; 2 to be added" in done.stdout
    assert f"skipped b/b2_9: shows the same frames as clip a/a2_0 of the store ({side(store, 'a/a2_0')})" in done.stdout
    appended = ClipStore.open(tmp_path / "store")
    assert side(appended, "a/a1_9") == side(store, "a/a1_0")
    done = here("append", scenes, "--store", "store", "--workers", 1)
    assert_well(done)
    assert "21 of 22 clips are in the store already, and 1 shows the same frames as clips of it; nothing" in done.stdout


def side(store: ClipStore, name: str) -> str:
    return "train" if name in store.train.ids else "val"


def test_a_group_torn_by_no_flag_is_named(here: Run, scenes: Path, store_path: Path) -> None:
    flags = ("--store", "store", *SMALL, "--teacher-weights", store_path, "--workers", 1, "--val-fraction", 0.5)
    for take in range(1, 10):
        shutil.copy(scenes / "a" / "a0_0.webm", scenes / "a" / f"copy {take}.webm")
    done = here(scenes, *flags)
    assert_well(done)
    assert "warning: a/a0_0 (" in done.stderr or "warning: a/copy " in done.stderr
    assert "the same frames on both sides of the split, which flatters the held-out loss" in done.stderr


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--group-by", "(b"), "--group-by = '(b': is no regular expression"),
        (("--group-by", r"b\d_(\d)"), "matches 10 of the 20 clips"),
        (("--group-by", "groups.csv:scene"), "groups.csv: there is no such file"),
        (("--synthetic", 16, "--group-by", "x"), "--group-by x: videos made by --synthetic have a split of their own"),
    ],
)
def test_groups_that_cannot_be_are_refused(
    refused: Callable[..., str], scenes: Path, flags: tuple[object, ...], said: str
) -> None:
    assert said in refused(scenes, *SMALL, *flags)


def test_something_something_keeps_its_split(refused: Callable[..., str], videos: Path) -> None:
    line = refused(videos, *SMALL, "--group-by", r"\d")
    assert rf"--group-by = '\d': {videos} has a split of its own, which is kept as it is; leave it out" in line
