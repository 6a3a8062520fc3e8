"""What an append does to the split: copies are left out, and clips join the side of their group."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.trainable.data.kills import content_hash, kill_often
from tests.trainable.small import Projection, ignore, make_plan, prepare
from trainable.data.build import plan
from trainable.data.build.copies import repeated
from trainable.data.build.decoding import Decoders
from trainable.data.build.plan import Plan
from trainable.data.maintain.append import StoreAppender
from trainable.data.maintain.subset import subset
from trainable.data.maintain.verify import verify
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.codecs import PixelFormat
from trainable.data.store.groups import grouping_of, sides_of
from trainable.data.video.grouping import Grouping
from trainable.data.video.video_dataset import Source, find_source
from trainable.data.video.view import View
from trainable.errors import StoreError, UserError

VIEW = View(frames=4, size=32, patch=8, tubelet=2)
PATTERN = r"(\w+)_\d+$"
WORK = "tests.trainable.data.test_append_split:append_all"


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "SHARD_CLIPS", 4)


@pytest.fixture
def folder(videos: Path, tmp_path: Path) -> Path:
    """12 clips of two classes, three a group: `a/g0_0`..."""
    files = sorted(videos.glob("*.webm"))
    return put(tmp_path / "videos", {f"{'ab'[n // 6]}/{'ab'[n // 6]}g{n // 3}_{n % 3}": files[n] for n in range(12)})


def put(folder: Path, clips: dict[str, Path]) -> Path:
    for name, file in clips.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(file, folder / f"{name}.webm")
    return folder


def append(path: Path, source: Source) -> StoreAppender:
    appender = StoreAppender(path, source)
    appender.store = appender.append(Projection(appender.store.view), Decoders(1), ignore)
    return appender


def append_all(folder: Path, videos: Path) -> None:
    """What is killed."""
    plan.SHARD_CLIPS = 4
    append(folder / "store", find_source(videos))


def ids(store: ClipStore) -> set[str]:
    return {*store.train.ids, *store.val.ids}


def skipped(store: ClipStore) -> dict[str, str]:
    return {clip["id"]: clip["reason"] for clip in store.manifest["skipped"]}


def other_video(videos: Path, number: int = 0) -> Path:
    return sorted(videos.glob("*.webm"))[20 + number]


@pytest.mark.parametrize("pixels", ["raw", "jpeg", "none"])
def test_copies_are_left_out_and_named_once(folder: Path, videos: Path, tmp_path: Path, pixels: PixelFormat) -> None:
    store = prepare(tmp_path / "store", make_plan(folder, VIEW, pixels=pixels))
    assert repeated(store) == []
    first, held = store.train.ids[0], store.val.ids[0]
    copies = {"a/again": folder / f"{first}.webm", "b/held": folder / f"{held}.webm"}
    put(folder, {**copies, "b/new": other_video(videos), "b/new again": other_video(videos)})
    appender = append(store.path, find_source(folder))
    assert (appender.there, appender.copies, appender.clips) == (12, 0, 4)
    store, side = appender.store, {clip.id: clip.split for clip in find_source(folder).clips}
    assert len(ids(store)) == 13 and "b/new" in ids(store)
    assert skipped(store) == {
        "a/again": f"shows the same frames as clip {first} of the store (train)",
        "b/held": f"shows the same frames as clip {held} of the store (val)",
        "b/new again": f"shows the same frames as clip b/new ({side['b/new']}), new as well",
    }
    assert repeated(store) == [] and verify(store, Decoders(1), ignore) == []
    before = content_hash(store.path)
    again = append(store.path, find_source(folder))
    assert (again.there, again.copies, again.clips) == (13, 3, 0)
    assert content_hash(store.path) == before
    (folder / "a" / "again.webm").unlink()
    put(folder, {"a/again": other_video(videos, 1)})
    assert "a/again" in ids(append(store.path, find_source(folder)).store), "no copy any more"


def test_nothing_but_copies_is_remembered_and_adds_nothing(folder: Path, tmp_path: Path) -> None:
    store = prepare(tmp_path / "store", make_plan(folder, VIEW))
    moved = shutil.copytree(folder, tmp_path / "moved")
    (moved / "a").rename(moved / "c")
    (moved / "c" / "broken.webm").write_bytes(b"no video")
    appender = append(store.path, find_source(moved))
    assert appender.clips == 7
    assert ids(appender.store) == ids(store)
    assert appender.store.manifest["fingerprint"] == store.manifest["fingerprint"]
    assert "is not a readable video" in skipped(appender.store).pop("c/broken")
    assert (tmp_path / "store.append").exists() is False
    before = content_hash(store.path)
    again = append(store.path, find_source(moved))
    assert (again.copies, again.clips) == (6, 1), "what is broken is tried again"
    assert "c/broken" in skipped(again.store)
    assert content_hash(store.path) == before


@pytest.mark.slow  # maintain/test_append.py is killed by default
def test_killed_at_any_moment_copies_are_left_out_all_the_same(folder: Path, videos: Path, tmp_path: Path) -> None:
    prepare(tmp_path / "template" / "store", make_plan(folder, VIEW))
    new = {f"b/new{number}": other_video(videos, number // 2) for number in range(8)}
    put(folder, {**new, "a/again": folder / "a" / "ag0_0.webm"})
    contents = kill_often(WORK, tmp_path / "template", folder, step=20)
    assert len(contents) > 2
    assert {moment for moment, content in contents.items() if content != contents[""]} == set()


def test_killed_as_nothing_but_copies_came_it_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = prepare(tmp_path / "store", make_plan(folder, VIEW))
    put(folder, {"a/again": folder / "a" / "ag0_0.webm"})
    with monkeypatch.context() as patch:
        patch.setattr("trainable.data.build.staging.StagedFolder.remove", None)  # after the manifest
        with pytest.raises(TypeError):
            append(store.path, find_source(folder))
    assert append(store.path, find_source(folder)).copies == 1
    assert not (tmp_path / "store.append").exists()


def test_a_store_names_the_clips_that_it_has_twice(folder: Path, tmp_path: Path) -> None:
    source = find_source(folder)
    train = next(clip for clip in source.clips if clip.split == "train")
    val = next(clip for clip in source.clips if clip.split == "val")
    doubles = (
        replace(train, id="x", path=train.path), replace(train, id="y", split="val"), replace(val, id="z"),
    )  # fmt: skip
    clips = tuple(sorted((*source.clips, *doubles), key=lambda clip: clip.id))
    store = prepare(tmp_path / "store", replace(make_plan(folder, VIEW), source=replace(source, clips=clips)))
    assert [str(found) for found in repeated(store)] == [
        f"{train.id} (train) = x (train) = y (val)", f"{val.id} (val) = z (val)",
    ]  # fmt: skip
    assert [found.torn for found in repeated(store)] == [True, False]


def grouped(folder: Path, path: Path) -> ClipStore:
    source = find_source(folder, grouping=Grouping(PATTERN))
    return prepare(path, replace(make_plan(folder, VIEW), source=source))


def more(store: ClipStore, folder: Path, given: Grouping | None = None) -> Source:
    return find_source(folder, grouping=grouping_of(store, given), sides=sides_of(store))


def test_new_clips_join_the_side_of_their_group(folder: Path, videos: Path, tmp_path: Path) -> None:
    store = grouped(folder, tmp_path / "store")
    sides = sides_of(store)
    assert sorted(sides) == ["ag0", "ag1", "bg2", "bg3"] and sorted(sides.values()) == ["train", "train", "val", "val"]
    new = {f"{group[0]}/{group}_{n}": other_video(videos, 4 * n + g) for g, group in enumerate(sides) for n in (3, 4)}
    more_videos = put(tmp_path / "more", {**new, "b/bg9_0": other_video(videos), "b/bg9_1": other_video(videos, 1)})
    for seed in range(3):
        path = shutil.copytree(store.path, tmp_path / f"copy {seed}")
        appended = append(path, more(store, more_videos)).store
        assert len(ids(appended)) == 22
        assert sides.items() <= sides_of(appended).items()
        for clips in (appended.train, appended.val):
            for name in clips.ids:
                assert sides_of(appended)[Grouping(PATTERN).groups({name: Path(name)})[name]] == clips.split
    small = subset(store, tmp_path / "small", 6, 0, overwrite=False, advance=ignore)
    assert sides_of(small).items() <= sides.items()
    one = put(tmp_path / "one", {name: new[name] for name in new if "ag0" in name})
    appended = append(small.path, more(small, one)).store
    assert sides_of(appended)["ag0"] == sides["ag0"], "the pattern and the sides are in the subset too"


def test_a_column_is_asked_for_again_and_must_not_move_a_clip(folder: Path, videos: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    rows = [f"{clip.id},{clip.id[2:5]}" for clip in find_source(folder).clips]
    table.write_text("\n".join(["id,scene", *rows]))
    source = find_source(folder, grouping=Grouping(f"{table}:scene"))
    store = prepare(tmp_path / "store", replace(make_plan(folder, VIEW), source=source))
    put(folder, {"a/other": other_video(videos)})
    with pytest.raises(UserError, match=r"split by the column 'scene' of a table: .* by --group-by FILE.csv:scene"):
        more(store, folder)
    held = next(group for group, side in sides_of(store).items() if side == "val")
    table.write_text("\n".join(["id,scene", *rows, f"a/other,{held}"]))
    appended = append(store.path, more(store, folder, Grouping(f"{table}:scene"))).store
    assert "a/other" in appended.val.ids
    put(folder, {"a/third": other_video(videos, 1)})
    table.write_text("\n".join(["id,scene", *rows[1:], f"{rows[0].split(',')[0]},bg9", "a/other,x", "a/third,x"]))
    with pytest.raises(StoreError, match=r"a/ag0_0\.webm: clip 'a/ag0_0': group = 'bg9': the store has it in .*'ag0'"):
        append(store.path, more(appended, folder, Grouping(f"{table}:scene")))


@pytest.mark.parametrize(
    ("group", "given", "told"),
    [
        (False, Grouping(PATTERN), "its clips were not grouped, and those to be added are grouped by the pattern"),
        (True, Grouping("(.)_"), "its clips were grouped by the pattern .* are grouped by the pattern '(.)_'; group"),
    ],
)
def test_clips_grouped_otherwise_are_refused(
    folder: Path, tmp_path: Path, group: bool, given: Grouping, told: str
) -> None:
    make: Callable[[Path, Path], ClipStore] = grouped if group else lambda f, p: prepare(p, make_plan(f, VIEW))
    store = make(folder, tmp_path / "store")
    with pytest.raises(StoreError, match=told.replace("(.)", r"\(.\)")):
        more(store, folder, given)
    with pytest.raises(StoreError, match="group them alike"):
        append(store.path, find_source(folder, grouping=given))


def test_plans_differ_by_their_groups_and_by_every_part_of_a_name(folder: Path) -> None:
    def described(source: Source) -> object:
        return replace(make_plan(folder, VIEW), source=source).describe()

    whole = find_source(folder)
    plans = [whole, *(find_source(folder, grouping=Grouping(spec)) for spec in (PATTERN, r"\w+_"))]
    assert len({str(described(source)) for source in plans}) == 3
    one, two, *rest = whole.clips
    ambiguous = [
        (replace(one, id="a\tb", label="c"), two), (replace(one, id="a", label="b\tc"), two),
        (replace(one, id="a\nb"), two), (replace(one, id="a"), replace(two, id="b\n" + two.id)),
    ]  # fmt: skip
    sources = [replace(whole, clips=(*pair, *rest)) for pair in ambiguous]
    assert len({str(described(source)) for source in sources}) == 4
    assert isinstance(make_plan(folder, VIEW), Plan)
