"""Finding labelled videos: both layouts, the split, and one clear line for what is wrong."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainable.data.video.video_dataset import Source, find_source, find_videos
from trainable.errors import ConfigError, VideoError

LABELS = {"Holding something": "1", "Moving something up": "0", "Dropping something": "2"}
TRAIN = [{"id": "7", "label": "holding a cup", "template": "Holding [something]", "placeholders": ["a cup"]}]
VALIDATION = [{"id": "10", "label": "moving a cup up", "template": "Moving [something] up", "placeholders": ["a cup"]}]


def put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def put_ssv2(folder: Path, prefix: str = "", videos: str = "", **changed: Any) -> Path:
    put(folder, f"{videos}7.webm", f"{videos}10.webm")
    for name, content in ({"labels": LABELS, "train": TRAIN, "validation": VALIDATION} | changed).items():
        path = folder / f"{prefix}{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    return folder


def ids(source: Source, split: str) -> set[str]:
    return {clip.id for clip in source.clips if clip.split == split}


@pytest.mark.parametrize("prefix", ["", "something-something-v2-", "labels/something-something-v2-", "labels/"])
@pytest.mark.parametrize("videos", ["", "20bn-something-something-v2/"])
def test_ssv2_is_read_with_its_own_splits_and_order_of_labels(tmp_path: Path, prefix: str, videos: str) -> None:
    source = find_source(put_ssv2(tmp_path, prefix, videos))
    assert source.labels == ("Moving something up", "Holding something", "Dropping something")
    found = [(clip.id, clip.label, clip.split, clip.path) for clip in source.clips]
    assert found == [
        ("10", "Moving something up", "val", tmp_path / videos / "10.webm"),
        ("7", "Holding something", "train", tmp_path / videos / "7.webm"),
    ]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"train": [*TRAIN, TRAIN[0] | {"id": "8"}, TRAIN[0] | {"id": "9"}]}, ["8.webm", "2 of the 4"]),
        ({"train": [*TRAIN, *TRAIN]}, ["train.json", "entry 1", "'7'"]),
        ({"validation": [*VALIDATION, *TRAIN]}, ["validation.json", "'7'", "train.json"]),
        ({"train": [TRAIN[0] | {"template": "Eating [something]"}]}, ["train.json", "entry 0", "Eating [something]"]),
        ({"train": [TRAIN[0] | {"id": 7}]}, ["train.json", "entry 0", "id = 7"]),
        ({"train": [{"id": "7", "label": "holding a cup"}]}, ["train.json", "entry 0", "template = None"]),
        ({"train": ["7"]}, ["train.json", "entry 0", "id"]),
        ({"train": {"7": "Holding something"}}, ["train.json", "list"]),
        ({"validation": []}, ["validation.json", "at least one entry"]),
        ({"labels": list(LABELS)}, ["labels.json", "object"]),
        ({"labels": LABELS | {"\ud800": "3"}}, ["labels.json: class = '\\ud800'", "no valid text"]),
        ({"train": [TRAIN[0] | {"id": "\udcff"}]}, ["train.json: entry 0: id = '\\udcff'", "no valid text"]),
        ({"labels": LABELS | {"Dropping something": "3"}}, ["labels.json", "index 2"]),
    ],
)
def test_wrong_annotations_are_named(tmp_path: Path, changed: dict[str, Any], told: list[str]) -> None:
    with pytest.raises(VideoError) as caught:
        find_source(put_ssv2(tmp_path, **changed))
    for part in (str(tmp_path), *told):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\x00", b""])
def test_what_is_not_json_is_named(tmp_path: Path, content: bytes) -> None:
    (put_ssv2(tmp_path) / "train.json").write_bytes(content)
    with pytest.raises(VideoError, match=r"train\.json: is not readable JSON"):
        find_source(tmp_path)


@pytest.mark.parametrize("name", ["labels", "train", "validation"])
def test_an_annotation_file_that_lacks_is_named(tmp_path: Path, name: str) -> None:
    (put_ssv2(tmp_path) / f"{name}.json").unlink()
    with pytest.raises(VideoError, match=rf"no {name}\.json"):
        find_source(tmp_path)


def test_the_class_is_the_folder_that_holds_the_video(tmp_path: Path) -> None:
    names = ["signs/a.webm", "signs/b.webm", "street/fight/X.MP4", "street/fight/y.avi", "street/peace/v1.2.mov"]
    put(tmp_path, *names, "street/fight/notes.txt", "signs/.hidden.mp4", ".cache/a/b.mp4")
    source = find_source(tmp_path)
    assert source.labels == ("signs", "street/fight", "street/peace")
    assert [(clip.id, clip.label) for clip in source.clips] == [
        ("signs/a", "signs"),
        ("signs/b", "signs"),
        ("street/fight/X", "street/fight"),
        ("street/fight/y", "street/fight"),
        ("street/peace/v1.2", "street/peace"),
    ]
    assert [clip.path for clip in source.clips] == [tmp_path / name for name in names]


def test_every_class_holds_out_its_share_by_hash(tmp_path: Path) -> None:
    sizes = {"one": 1, "two": 2, "ten": 10, "forty": 40}
    put(tmp_path, *(f"{name}/{index}.mp4" for name, size in sizes.items() for index in range(size)))
    source = find_source(tmp_path, val_fraction=0.2)
    held_out = {name: sum(clip.label == name and clip.split == "val" for clip in source.clips) for name in sizes}
    assert held_out == {"one": 0, "two": 1, "ten": 2, "forty": 8}
    assert find_source(tmp_path, val_fraction=0.2) == source
    assert ids(find_source(tmp_path, val_fraction=0.2, seed=1), "val") != ids(source, "val")
    put(tmp_path, "new class/0.mp4", "new class/1.mp4")
    assert ids(find_source(tmp_path, val_fraction=0.2), "val") > ids(source, "val")


def test_classes_of_one_clip_are_split_together(tmp_path: Path) -> None:
    source = find_source(put(tmp_path, *(f"{index}/a.mkv" for index in range(20))), val_fraction=0.25)
    assert len(ids(source, "val")) == 5
    assert len(source.labels) == 20


def test_videos_without_class_folders_are_of_one_class(tmp_path: Path) -> None:
    source = find_source(put(tmp_path / "signs", "eat.mkv", "yes.mkv", "no.mkv"), val_fraction=0.9)
    assert source.labels == ("signs",)
    assert len(ids(source, "val")) == 2


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda folder: folder / "nowhere", "no such folder"),
        (lambda folder: put(folder, "a.webm") / "a.webm", "not a folder"),
        (lambda folder: put(folder, "a.txt"), "holds no videos"),
        (lambda folder: put(folder, "a/a.webm"), "at least two"),
        (lambda folder: put(folder, "a/a.webm", "a/a.mp4"), "same name"),
    ],
)
def test_folders_without_a_dataset_are_named(tmp_path: Path, make: Callable[[Path], Path], told: str) -> None:
    folder = make(tmp_path)
    with pytest.raises(VideoError, match=told) as caught:
        find_source(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan")])
def test_the_held_out_fraction_is_checked(tmp_path: Path, fraction: float) -> None:
    with pytest.raises(ConfigError) as caught:
        find_source(put(tmp_path, "a/a.webm", "a/b.webm"), val_fraction=fraction)
    assert caught.value.field == "val_fraction"


def test_a_folder_within_one_whose_name_is_no_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest names the folder by its whole path, whatever it was given as."""
    folder = Path(os.fsdecode(bytes(tmp_path) + b"/k\xfcche"))
    monkeypatch.chdir(put(folder, "videos/a/a.webm", "videos/a/b.webm"))
    with pytest.raises(VideoError, match=r"k\\xfcche/videos': the name is not UTF-8"):
        find_source(Path("videos"))


@pytest.mark.parametrize(
    "ending", ["ogv", "mts", "m2ts", "vob", "gif", "m4v", "3gp", "mxf", "y4m", "MP4", "wmv", "flv"]
)
def test_videos_of_any_container_are_found(tmp_path: Path, ending: str) -> None:
    source = find_source(put(tmp_path, f"a/1.{ending}", f"a/2.{ending}"))
    assert [clip.path.name for clip in source.clips] == [f"1.{ending}", f"2.{ending}"]
    assert source.others == ()


def test_files_that_are_no_videos_are_kept_apart(tmp_path: Path) -> None:
    source = find_source(put(tmp_path, "a/1.mp4", "a/2.mp4", "a/1.jpg", "a/notes", "read.me", ".hidden", "a/.x/3.mp4"))
    assert {path.relative_to(tmp_path).as_posix() for path in source.others} == {"a/1.jpg", "a/notes", "read.me"}
    assert len(source.clips) == 2


def test_videos_that_no_list_names_are_kept_apart(tmp_path: Path) -> None:
    source = find_source(put(put_ssv2(tmp_path), "8.webm", "README.txt"))
    assert [path.name for path in source.unlisted] == ["8.webm"]
    assert [path.name for path in source.others] == ["README.txt"]
    assert len(source.clips) == 2


def test_what_needs_no_split_takes_every_video(tmp_path: Path) -> None:
    folder = put(put_ssv2(tmp_path / "ssv2"), "11.webm")
    found = [(video.id, video.label, video.path.name) for video in find_videos(folder)]
    assert found == [
        ("10", "Moving something up", "10.webm"),
        ("11", None, "11.webm"),
        ("7", "Holding something", "7.webm"),
    ]
    one = put(tmp_path / "one", "jump/high/a.mp4", "jump/high/notes.txt")
    assert [(video.id, video.label) for video in find_videos(one)] == [("jump/high/a", "jump/high")]
    with pytest.raises(VideoError, match="holds no videos: at least one is needed, as"):
        find_videos(put(tmp_path / "none", "notes.txt"))
