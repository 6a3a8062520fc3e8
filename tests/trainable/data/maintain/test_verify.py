"""A damaged byte is found wherever it is; a repair leaves what was there before it, or everything as it was."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from trainable.data.build import plan as plan_module
from trainable.data.build.builder import StoreBuilder
from trainable.data.build.decoding import Decoders
from trainable.data.build.latent_source import FrozenTeacher
from trainable.data.build.plan import Plan
from trainable.data.maintain import repair as repair_module
from trainable.data.maintain.repair import repair
from trainable.data.maintain.rows import BadRow
from trainable.data.maintain.verify import bytes_to_verify, verify
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.index import Clips
from trainable.data.store.loader import Loader
from trainable.data.store.shards import Half, Part, shard_file
from trainable.data.video.synthetic import write_dataset
from trainable.data.video.video_dataset import find_source
from trainable.data.video.view import View
from trainable.errors import StoreError
from trainable.masking.masks import Masks
from trainable.teachers.pixel import PIXEL_TEACHER, PixelTeacher

CLIPS = 32
SKIPPED = "11"  # a training clip in the middle of a shard
FORMATS = {"raw": ("float16", 2), "jpeg": ("int8", 3), "none": ("int8", 2)}

HALF: dict[Part, Half] = {"pixels": "pixels", "latents": "latents", "scales": "latents"}

Copy = Callable[[str], Path]


class StoppedError(Exception):
    """Stands for a kill."""


class OtherMachine(FrozenTeacher):
    """The same teacher on a machine that rounds otherwise; may be stopped after some batches."""

    def __init__(self, teacher: PixelTeacher, error: float = 0.02, batches: int = 1000) -> None:
        self.name, self.sha256, self.dim = teacher.name, teacher.sha256, teacher.dim
        self._teacher, self._error, self._batches = teacher, error, batches

    def latents(self, pixels: torch.Tensor) -> torch.Tensor:
        """See `FrozenTeacher.latents`."""
        if self._batches == 0:
            raise StoppedError
        self._batches -= 1
        latents = self._teacher.latents(pixels)
        return latents + self._error * torch.arange(self.dim)


class BatchBound(OtherMachine):
    """A teacher whose bits depend on the size of the batch and on the place in it."""

    def latents(self, pixels: torch.Tensor) -> torch.Tensor:
        """See `FrozenTeacher.latents`."""
        places = torch.arange(len(pixels))[:, None, None] + 100 * len(pixels)
        return self._teacher.latents(pixels) + 1e-3 * places * torch.arange(self.dim)


class Row(NamedTuple):
    """Where a part of a row lies: its file, its first byte, its bytes."""

    clips: Clips
    clip: int
    view: int
    file: Path
    start: int
    size: int


def ignore(_: object) -> None:
    """Shows no progress."""


@pytest.fixture(scope="module", autouse=True)
def small_shards() -> Iterator[None]:
    """4 shards of at most 8 clips: 3 of training clips, 1 of held-out ones."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (plan_module, repair_module):
            patch.setattr(module, "SHARD_CLIPS", 8)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos, of which one is cut off, and a store in each format: two passes for raw, one for the others."""
    folder = tmp_path_factory.mktemp("verify")
    write_dataset(folder / "videos", CLIPS, frames=8)
    cut = folder / "videos" / f"{SKIPPED}.webm"
    cut.write_bytes(cut.read_bytes()[:-100])
    source, trained = find_source(folder / "videos"), PIXEL_TEACHER.replace(epochs=1)
    assert next(clip.split for clip in source.clips if clip.id == SKIPPED) == "train"
    for pixels, (latents, views) in FORMATS.items():
        view = View(8, 48, 8, 2, views=views)
        plan = Plan(source, view, pixels, latents, {"name": "pixel"}, "layer_norm", 0)  # type: ignore[arg-type]
        builder = StoreBuilder(folder / pixels, plan)
        weights = folder / "raw" / "teacher"
        if pixels == "raw":
            builder.write(None, Decoders(1), ignore)
            weights = folder / "raw.partial" / "teacher"
            PixelTeacher.train(builder.open_pixels(), weights, trained, device="cpu", seed=0, on_report=ignore)
            builder.add_latents(PixelTeacher(weights, "cpu"), Decoders(1), ignore)
        else:
            builder.write(PixelTeacher(weights, "cpu"), Decoders(1), ignore)
        builder.finish(PixelTeacher(weights, "cpu"))
    return folder


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Copy:
    """Copies a store, to be damaged."""
    return lambda name: Path(shutil.copytree(folder / name, tmp_path / name))


@pytest.fixture
def own_videos(folder: Path, tmp_path: Path, copy: Copy) -> Copy:
    """Copies a store and its videos, to be damaged."""

    def make(name: str) -> Path:
        shutil.copytree(folder / "videos", tmp_path / "videos")
        path = copy(name)
        manifest = json.loads((path / "manifest.json").read_text())
        (path / "manifest.json").write_text(json.dumps({**manifest, "videos": str(tmp_path / "videos")}))
        return path

    return make


@pytest.fixture(scope="module")
def teacher(folder: Path) -> PixelTeacher:
    return PixelTeacher(folder / "raw" / "teacher", "cpu")


def content(path: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def rows(path: Path, part: Part) -> list[Row]:
    """Where each row of one part of a store lies."""
    store, found = ClipStore.open(path), []
    for clips in (store.train, store.val):
        for clip, shard in enumerate(clips.shards):
            file, array = shard_file(path, shard, part), store.shard(shard, part)
            header = file.stat().st_size - array.nbytes
            for view in range(clips.views):
                size = array[0].nbytes
                start = (int(clips.rows[clip]) + view) * size
                if part == "pixels" and store.pixel_format == "jpeg":
                    start, size = clips.jpegs[clip, view].tolist()
                found.append(Row(clips, clip, view, file, header + start, size))
    return found


def flip(file: Path, at: int, bits: int = 1) -> None:
    """Damages one byte in place."""
    with file.open("r+b") as opened:
        opened.seek(at)
        byte = opened.read(1)[0]
        opened.seek(at)
        opened.write(bytes([byte ^ bits]))


def verified(path: Path, processes: int = 1) -> list[BadRow]:
    """What `verify` finds, of all bytes."""
    store, counts = ClipStore.open(path, whole=False), list[int]()
    bad = verify(store, Decoders(processes), counts.append)
    assert all("\n" not in row.reason for row in bad)
    if all(row.reason == "differs from its checksum" or store.pixel_format == "none" for row in bad):
        assert sum(counts) == bytes_to_verify(store)
    return bad


def repaired(path: Path, teacher: FrozenTeacher | None) -> int:
    """Repairs all that is bad."""
    bad, done = verified(path), list[int]()
    count = repair(ClipStore.open(path, whole=False), bad, teacher, Decoders(1), done.append)
    assert sum(done) == len(bad)
    assert verified(path) == []
    return count


def refusal(path: Path, teacher: FrozenTeacher | None) -> str:
    """The line with which a repair is refused, which leaves everything as it was."""
    before, bad = content(path), verified(path)
    with pytest.raises(StoreError) as caught:
        repair(ClipStore.open(path, whole=False), bad, teacher, Decoders(1), ignore)
    assert content(path) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def train(store: ClipStore) -> None:
    """Reads a few epochs of each split, as a training does: each view's turn comes."""
    for clips in (store.train, store.val):
        loader = Loader(store, clips, Masks(store.view, "random", 0.5, 0), 1)
        try:
            for epoch in range(clips.views):
                for _ in loader.training_epoch(0, epoch):
                    pass
        finally:
            loader.close()


@pytest.mark.parametrize("name", FORMATS)
def test_a_store_is_good_as_it_was_prepared(folder: Path, name: str) -> None:
    store = ClipStore.open(folder / name)
    assert [clip["id"] for clip in store.manifest["skipped"]] == [SKIPPED]
    assert len(store.train) + len(store.val) == CLIPS - 1
    assert verified(folder / name, processes=1) == verified(folder / name, processes=3) == []


@pytest.mark.parametrize(
    ("name", "part"),
    [("raw", "pixels"), ("raw", "latents"), ("jpeg", "pixels"), ("jpeg", "latents"), ("jpeg", "scales")],
)
@pytest.mark.parametrize("number", [17, -1])
def test_one_damaged_byte_is_found_refused_and_repaired(
    copy: Copy, teacher: PixelTeacher, name: str, part: Part, number: int
) -> None:
    path = copy(name)
    before, row = content(path), rows(path, part)[number]
    flip(row.file, row.start + row.size // 2)
    half = HALF[part]
    identity, place = row.clips.ids[row.clip], int(row.clips.rows[row.clip]) + row.view
    shard = shard_file(path, row.clips.shards[row.clip], half)
    reason = "differs from its checksum"
    assert verified(path) == [BadRow(row.clips.split, row.clip, identity, row.view, half, shard, place, reason)]

    store = ClipStore.open(path)
    read = store.pixels if half == "pixels" else store.latents
    for attempt in (lambda: read(row.clips, row.clip, row.view), lambda: train(store)):
        with pytest.raises(StoreError) as caught:
            attempt()
        assert f"{shard}: clip {identity!r}" in str(caught.value)
        assert f"prepare repair {path}" in str(caught.value)

    assert repaired(path, teacher) == 0
    assert content(path) == before
    train(ClipStore.open(path))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("name", ["raw", "jpeg"])
def test_any_damaged_byte_of_any_shard_is_found(folder: Path, tmp_path: Path, name: str, data: st.DataObject) -> None:
    path = tmp_path / name
    if not path.exists():
        shutil.copytree(folder / name, path)
    parts: dict[str, list[Part]] = {"raw": ["pixels", "latents"], "jpeg": ["pixels", "latents", "scales"]}
    part = data.draw(st.sampled_from(parts[name]))
    row = data.draw(st.sampled_from(rows(path, part)))
    at, bits = row.start + data.draw(st.integers(0, row.size - 1)), data.draw(st.integers(1, 255))
    flip(row.file, at, bits)
    try:
        (bad,) = verify(ClipStore.open(path), Decoders(1), ignore)
    finally:
        flip(row.file, at, bits)
    assert (bad.split, bad.clip, bad.view, bad.half) == (row.clips.split, row.clip, row.view, HALF[part])


def test_nan_and_infinity_are_found(copy: Copy) -> None:
    path = copy("raw")
    row = rows(path, "latents")[3]
    for value in (np.nan, np.inf):
        with row.file.open("r+b") as file:
            file.seek(row.start)
            file.write(np.float16(value).tobytes())
        assert [(bad.clip, bad.view) for bad in verified(path)] == [(row.clip, row.view)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 127), byte=st.integers(0, 255))
@example(at=8, byte=67)  # the header ends earlier, and is none the worse for it
def test_a_damaged_header_is_harmless_or_found_and_mended_without_a_teacher(
    folder: Path, tmp_path: Path, at: int, byte: int
) -> None:
    path = tmp_path / "raw"
    if not path.exists():
        shutil.copytree(folder / "raw", path)
    file = path / "train-00001.latents.npy"
    before = file.read_bytes()
    file.write_bytes(before[:at] + bytes([byte]) + before[at + 1 :])
    bad = verify(ClipStore.open(path, whole=False), Decoders(1), ignore)
    repair(ClipStore.open(path, whole=False), bad, None, Decoders(1), ignore)
    assert {row.file for row in bad} <= {file}
    assert file.read_bytes() == (before if bad else before[:at] + bytes([byte]) + before[at + 1 :])
    assert verified(path) == []
    file.write_bytes(before)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def misshape(file: Path) -> None:
    np.save(file, np.zeros((3, 5), np.float64))


@pytest.mark.parametrize("damage", [Path.unlink, truncate, empty, misshape])
@pytest.mark.parametrize(
    ("name", "part"), [("raw", "pixels"), ("raw", "latents"), ("jpeg", "pixels"), ("jpeg", "scales")]
)
def test_a_shard_that_is_not_whole_is_rebuilt(
    copy: Copy, teacher: PixelTeacher, damage: Callable[[Path], None], name: str, part: Part
) -> None:
    path = copy(name)
    before = content(path)
    file = shard_file(path, "train-00001", part)
    expected = [row for row in rows(path, part) if row.file == file]
    damage(file)
    with pytest.raises(StoreError) as caught:
        ClipStore.open(path)
    assert str(caught.value).startswith(f"{file}: ")
    if damage is truncate:
        everything, size = len(expected), file.stat().st_size
        expected = [row for row in expected if row.start + row.size > size]
        assert 0 < len(expected) < everything
    bad = verified(path)
    assert {row.file for row in bad} == {file}
    assert [(row.clip, row.view) for row in bad] == [(row.clip, row.view) for row in expected]
    assert repaired(path, teacher) == 0
    assert content(path) == before


def test_everything_at_once_is_rebuilt(copy: Copy, teacher: PixelTeacher) -> None:
    for name in ("raw", "jpeg"):
        path = copy(name)
        before = content(path)
        for file in path.glob("*.npy"):
            file.unlink()
        assert repaired(path, teacher) == 0
        assert content(path) == before


def test_latents_of_a_store_without_pixels_are_computed_from_the_videos(copy: Copy, teacher: PixelTeacher) -> None:
    path = copy("none")
    before, row = content(path), rows(path, "latents")[9]
    flip(row.file, row.start)
    (path / "val-00000.scales.npy").unlink()
    assert repaired(path, teacher) == 0
    assert content(path) == before


@pytest.mark.parametrize("name", ["raw", "jpeg"])
@pytest.mark.parametrize("other", ["2", None])
def test_a_changed_or_missing_video_is_refused(
    own_videos: Copy, teacher: PixelTeacher, name: str, other: str | None
) -> None:
    path = own_videos(name)
    before, row, further = content(path), rows(path, "pixels")[0], rows(path, "pixels")[20]
    video = ClipStore.open(path).videos / row.clips.videos[row.clip]
    original = video.read_bytes()
    if other is None:
        video.unlink()
    else:
        shutil.copy(video.with_name(f"{other}.webm"), video)
    flip(row.file, row.start)
    line = refusal(path, teacher)
    assert line.startswith(f"{video}: clip {row.clips.ids[row.clip]!r}: ")
    assert ("No such file" in line) if other is None else ("has changed" in line)
    assert "put the video back" in line

    flip(further.file, further.start)
    with pytest.raises(StoreError, match="put the video back"):
        repair(ClipStore.open(path), verified(path), teacher, Decoders(1), ignore)
    assert [bad.id for bad in verified(path)] == [row.clips.ids[row.clip]], "the other one is repaired all the same"
    video.write_bytes(original)
    assert repaired(path, teacher) == 0
    assert content(path) == before


@pytest.mark.parametrize("missing", [False, True])
def test_without_stored_pixels_the_video_itself_is_verified(
    own_videos: Copy, teacher: PixelTeacher, missing: bool
) -> None:
    path = own_videos("none")
    store = ClipStore.open(path)
    video = store.videos / store.train.videos[4]
    if missing:
        video.unlink()
    else:
        shutil.copy(store.videos / store.train.videos[5], video)
    bad = verified(path)
    assert [(row.split, row.clip, row.half, row.file) for row in bad] == [("train", 4, "pixels", video)] * len(bad)
    assert [row.view for row in bad] == [0, 1]
    assert ("No such file" if missing else "other pixels") in bad[0].reason
    with pytest.raises(StoreError) as caught:
        train(store)
    assert str(video) in str(caught.value)
    line = refusal(path, teacher)
    assert line.startswith(f"{video}: clip {store.train.ids[4]!r}: ") and "put the video back" in line


def test_another_teacher_or_none_is_refused(copy: Copy, teacher: PixelTeacher) -> None:
    path = copy("raw")
    row = rows(path, "latents")[0]
    flip(row.file, row.start)
    other = OtherMachine(teacher)
    other.sha256 = "0" * 64
    line = refusal(path, other)
    assert teacher.sha256 in line and other.sha256 in line
    assert teacher.sha256 in refusal(path, None)


def test_imported_latents_are_refused(copy: Copy, teacher: PixelTeacher) -> None:
    path = copy("raw")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["teacher"]["name"] = "adopted"
    (path / "manifest.json").write_text(json.dumps(manifest))
    row = rows(path, "latents")[0]
    flip(row.file, row.start)
    for given_one in (None, teacher):
        assert "imported" in refusal(path, given_one)
    flip(row.file, row.start)
    (path / "val-00000.pixels.npy").unlink()
    assert repaired(path, None) == 0


@pytest.mark.parametrize("passes", [1, 2])
def test_latents_are_computed_in_the_batches_of_the_preparation(
    folder: Path, tmp_path: Path, teacher: PixelTeacher, passes: int
) -> None:
    source, view, bound = find_source(folder / "videos"), View(8, 48, 8, 2, views=3), BatchBound(teacher)
    builder = StoreBuilder(tmp_path / "s", Plan(source, view, "raw", "int8", {"name": "pixel"}, "layer_norm", 0))
    builder.write(bound if passes == 1 else None, Decoders(1), ignore)
    if passes == 2:
        builder.add_latents(bound, Decoders(1), ignore)
    path = builder.finish(bound).path
    before = content(path)
    for file in path.glob("*.scales.npy"):
        file.unlink()
    assert repaired(path, bound) == 0
    assert content(path) == before


@pytest.mark.parametrize("name", FORMATS)
def test_latents_of_other_bits_are_taken_and_the_index_follows(copy: Copy, teacher: PixelTeacher, name: str) -> None:
    path = copy(name)
    before, row = ClipStore.open(path), rows(path, "latents")[5]
    flip(row.file, row.start)
    assert repaired(path, OtherMachine(teacher)) == 1
    after = ClipStore.open(path)
    assert after.manifest["fingerprint"] != before.manifest["fingerprint"]
    assert sorted(file.name for file in path.glob("*.parquet")) == [after.manifest["index"]]
    for one, other in ((before.train, after.train), (before.val, after.val)):
        changed = np.argwhere(one.digests != other.digests).tolist()
        assert changed == ([[row.clip, row.view, 1]] if one.split == row.clips.split else [])
        assert one.ids == other.ids and (one.rows == other.rows).all() and (one.jpegs == other.jpegs).all()
    train(after)
    assert repaired(path, teacher) == 0


def test_a_repair_that_is_killed_goes_on(copy: Copy, teacher: PixelTeacher) -> None:
    path = copy("raw")
    before = content(path)
    (path / "train-00000.latents.npy").unlink()
    (path / "train-00002.latents.npy").unlink()
    (path / "val-00000.pixels.npy").unlink()
    bad = verified(path)
    with pytest.raises(StoppedError):
        repair(ClipStore.open(path, whole=False), bad, OtherMachine(teacher, error=0, batches=1), Decoders(1), ignore)
    assert {name: len(data) for name, data in content(path).items()} == {name: len(before[name]) for name in before}
    left = verified(path)
    assert 0 < len(left) < len(bad)
    assert {(row.id, row.view, row.half) for row in left} < {(row.id, row.view, row.half) for row in bad}
    assert repaired(path, teacher) == 0
    assert content(path) == before


@pytest.mark.parametrize("stage", ["write_index", "write_position_mean", "write_manifest"])
def test_a_repair_that_is_killed_before_the_index_is_taken_goes_on(
    copy: Copy, teacher: PixelTeacher, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    path = copy("raw")
    manifest, row = (path / "manifest.json").read_bytes(), rows(path, "latents")[5]
    flip(row.file, row.start)

    def stop(*_: Any, **__: Any) -> None:
        raise StoppedError

    bad = verified(path)
    with monkeypatch.context() as patch:
        patch.setattr(repair_module, stage, stop)
        with pytest.raises(StoppedError):
            repair(ClipStore.open(path), bad, OtherMachine(teacher), Decoders(1), ignore)
    assert (path / "manifest.json").read_bytes() == manifest
    assert [(bad.clip, bad.view) for bad in verified(path)] == [(row.clip, row.view)]
    assert repaired(path, OtherMachine(teacher)) == 1
    assert len(list(path.glob("*.parquet"))) == 1


def test_a_missing_position_mean_is_rebuilt(copy: Copy) -> None:
    path = copy("raw")
    before = content(path)
    (path / "position_mean.npy").unlink()
    assert repaired(path, None) == 0
    assert content(path) == before


def test_what_is_good_by_now_is_left_alone(copy: Copy) -> None:
    path = copy("raw")
    before, row = content(path), rows(path, "latents")[0]
    flip(row.file, row.start)
    bad = verified(path)
    flip(row.file, row.start)
    assert repair(ClipStore.open(path), bad, None, Decoders(1), ignore) == 0
    assert content(path) == before
