"""Videos that are damaged or strangely named, and folders that are not as they should be."""

import json
import os
import re
import subprocess
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.text import printable
from tests.faults.conftest import SMALL, assert_well, prepare, write_video
from trainable.data.store.clip_store import ClipStore

Refused = Callable[..., str]

LONG = "long " * 49  # with .webm as long as a file's name may be
NAMES = (
    "plain",
    "with spaces ",
    "-o --help",
    "12:30:59",
    "two\nlines",
    "100% [%03d] *?",
    "résumé.v2",
    unicodedata.normalize("NFC", "\u00e9t\u00e9"),
    unicodedata.normalize("NFD", "\u00e9t\u00e9"),
    LONG,
)
FOLDERS = ("-rf", "jump, with\ttab", "走る")


@pytest.fixture
def strange_videos(tmp_path: Path) -> tuple[set[str], set[str]]:
    """Fills `tmp_path/videos`; the ids of the clips that are good, and of those that are not."""
    folder = tmp_path / "videos"
    good = {f"{parent}/{name}" for parent in FOLDERS for name in NAMES}
    video = write_video(tmp_path / "noise.webm").read_bytes()
    for clip in good:
        path = folder / f"{clip}.webm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(video)
    bad = {
        "-rf/cut off": video[: len(video) // 2],
        "-rf/zero": b"",
        "-rf/text": b"<html>404 Not Found</html>" * 20,
        "-rf/unknown codec": video.replace(b"V_VP9", b"V_XX9"),
        "-rf/header only": video[:200],
    }
    for clip, damaged in bad.items():
        (folder / f"{clip}.webm").write_bytes(damaged)
    write_video(folder / "-rf" / "sound only.webm", 0, sound=True)
    write_video(folder / "-rf" / "sound too.webm", sound=True)
    write_video(folder / "走る" / "one frame.MP4", 1, codec="mpeg4")
    # A title in Latin-1, as old cameras write it: no reason to do without the video.
    titled = video.replace(b"Lavf", b"caf\xe9")
    assert titled != video
    (folder / "走る" / "latin title.webm").write_bytes(titled)
    (folder / ".hidden.webm").write_bytes(b"")
    (folder / "folder.webm").mkdir()
    (folder / "readme.txt").write_text("no video")
    return good | {"-rf/sound too", "走る/one frame", "走る/latin title"}, {*bad, "-rf/sound only"}


def test_strange_names_and_bad_files_among_good_ones(
    strange_videos: tuple[set[str], set[str]], store_path: Path, tmp_path: Path
) -> None:
    good, bad = strange_videos
    # From within, so that names stand alone where FFmpeg could take them for a protocol.
    done = prepare(
        tmp_path / "videos", ".", "--store", "../-store", *SMALL, "--teacher-weights", store_path, "--workers", 1
    )
    assert_well(done)
    store = ClipStore.open(tmp_path / "-store")
    assert set(store.train.ids + store.val.ids) == good
    assert {clip["id"]: clip["split"] for clip in store.manifest["skipped"]}.keys() == bad
    assert store.labels == sorted(FOLDERS)
    for clip in bad:
        assert f"skipped {printable(clip)}: " in done.stdout
    for clips in (store.train, store.val):
        for number in range(len(clips)):
            assert store.latents(clips, number).shape == (64, 128)


def test_no_video_of_a_split_is_good(refused: Refused, store_path: Path, tmp_path: Path) -> None:
    for clip in ("a", "b", "c"):
        (tmp_path / "videos" / "class").mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / "class" / f"{clip}.mp4").write_bytes(b"")
    line = refused("videos", *SMALL, "--teacher-weights", store_path)
    assert re.search(r"no (training|held-out) clip could be prepared: videos/class/", line)
    assert "is not a readable video" in line


def test_two_files_of_one_name(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "videos" / "class").mkdir(parents=True)
    for name in ("a.webm", "a.mp4", "b.webm"):
        (tmp_path / "videos" / "class" / name).write_bytes(b"")
    line = refused("videos", *SMALL)
    assert "class/a.webm: has the same name as a.mp4" in line


def test_a_name_that_is_no_text(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    for name in (b"caf\xe9.webm", b"tea.webm"):
        Path(os.fsdecode(bytes(tmp_path / "videos") + b"/" + name)).write_bytes(b"")
    line = refused("videos", *SMALL)
    assert r"caf\xe9.webm" in line
    assert "not UTF-8; rename it" in line


def test_a_folder_that_holds_itself(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "videos" / "class").mkdir(parents=True)
    for name in ("a", "b"):
        write_video(tmp_path / "videos" / "class" / f"{name}.webm")
    (tmp_path / "videos" / "class" / "again").symlink_to("..")
    assert "class/again: is a link to a folder that it lies in" in refused("videos", *SMALL)


def test_a_link_to_nothing(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    for name in ("a", "b"):
        write_video(tmp_path / "videos" / f"{name}.webm")
    (tmp_path / "videos" / "c.webm").symlink_to("nowhere")
    assert "videos/c.webm: No such file or directory" in refused("videos", *SMALL)


def test_a_folder_without_videos(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "videos" / "empty").mkdir(parents=True)
    assert "videos: holds no videos" in refused("videos", *SMALL)
    write_video(tmp_path / "videos" / "empty" / "only.webm")
    assert "at least two are needed" in refused("videos", *SMALL)
    assert "is not a folder" in refused("videos/empty/only.webm", *SMALL)


Json = dict[str, Any]


def entry(clip: object, template: object = "Moving [something]") -> Json:
    return {"id": clip, "template": template}


SHAPES: dict[str, tuple[str, object, list[str]]] = {
    "labels are a list": ("labels", ["Moving something"], ["labels.json: must be an object"]),
    "labels count from 1": ("labels", {"Moving something": "1"}, ["no class has the index 0"]),
    "labels share an index": ("labels", {"Moving something": 0, "Resting": 0}, ["no class has the index 1"]),
    "labels are empty": ("labels", {}, ["must be a class of labels.json"]),
    "entries are an object": ("train", {"1": "Moving something"}, ["train.json: must be a list"]),
    "entries are empty": ("validation", [], ["validation.json: must be a list of at least one"]),
    "an entry is a text": ("train", ["1"], ["train.json: entry 0: id = None"]),
    "an id is a number": ("train", [entry(1)], ["train.json: entry 0: id = 1: must be a text"]),
    "no template": ("train", [{"id": "1", "label": "x"}], ["entry 0: template = None"]),
    "an unknown class": ("train", [entry("1", "Resting")], ["template = 'Resting'"]),
    "an id twice": ("train", [entry("1"), entry("1")], ["entry 1: id = '1': is listed before"]),
    "an id in both": ("train", [entry("1"), entry("2")], ["id = '2': is listed in train.json as well"]),
    "an id without video": (
        "train",
        [entry("1"), entry("9")],
        ["1 of the 3 videos listed are not there, first 9.webm"],
    ),
    "not JSON": ("train", None, ["train.json: is not readable JSON"]),
    "missing": ("validation", ..., ["has labels.json but no validation.json"]),
}


@pytest.mark.parametrize(("name", "value", "words"), SHAPES.values(), ids=SHAPES.keys())
def test_lists_of_another_shape(refused: Refused, tmp_path: Path, name: str, value: object, words: list[str]) -> None:
    line = refused(ssv2(tmp_path, **{name: value}), *SMALL)
    for word in words:
        assert word in line


def test_two_files_of_one_listed_id(refused: Refused, tmp_path: Path) -> None:
    folder = ssv2(tmp_path)
    (folder / "unlisted.webm").write_bytes(b"")
    (folder / "unlisted.mp4").write_bytes(b"")
    (folder / "1.mp4").write_bytes(b"")
    assert "1.webm: has the same id as videos/1.mp4" in refused("videos", *SMALL)


def ssv2(folder: Path, **lists: object) -> Path:
    """Two clips in Something-Something v2's layout, with some of its lists as given; `...` leaves one out."""
    folder = folder / "videos"
    folder.mkdir()
    for name in ("1", "2"):
        (folder / f"{name}.webm").write_bytes(b"")
    usual: Json = {"labels": {"Moving something": "0"}, "train": [entry("1")], "validation": [entry("2")]}
    for name, value in {**usual, **lists}.items():
        if value is not ...:
            (folder / f"{name}.json").write_text("[{" if value is None else json.dumps(value))
    return folder


def test_the_command_line_of_a_folder_that_begins_with_a_dash(
    here: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "-videos").mkdir()
    for name in ("a", "b"):
        write_video(tmp_path / "-videos" / f"{name}.webm")
    done = here("--dry-run", *SMALL, "--", "-videos")
    assert_well(done)
    assert "2 clips in 2 rows" in done.stdout
