"""A smaller store out of a store: every class keeps its share, and every row stays what it was."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainable.conftest import StoreOf
from tests.trainable.data.kills import content_hash, kill_often
from tests.trainable.small import SMALL, ignore
from trainable.data.build import plan
from trainable.data.maintain.subset import Stratum, choose, subset
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.codecs import LatentFormat, PixelFormat
from trainable.data.store.shards import shard_file
from trainable.data.video.video_dataset import Split
from trainable.errors import ConfigError, StoreError
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator
from trainable.evaluate.held_out_loss import val_loss
from trainable.teachers.pixel import PixelTeacher
from trainable.train.training import Training

SPLITS: tuple[Split, ...] = ("train", "val")


def small_subset(folder: Path, source: Path) -> None:
    """What is killed: 13 clips in three shards, in place of a store that is there."""
    plan.SHARD_CLIPS = 8
    subset(ClipStore.open(source), folder / "store", 13, 1, overwrite=True, advance=ignore)


sizes = st.dictionaries(st.tuples(st.sampled_from(SPLITS), st.integers(0, 4)), st.integers(1, 30), min_size=1).filter(
    lambda sizes: {split for split, _ in sizes} == set(SPLITS)
)


def strata_of(sizes: dict[Stratum, int]) -> dict[str, Stratum]:
    return {f"{split}{label}-{n}": (split, label) for (split, label), count in sizes.items() for n in range(count)}


@settings(deadline=None)
@given(sizes=sizes, seed=st.integers(0, 3), data=st.data())
def test_every_class_keeps_its_share_of_each_split(sizes: dict[Stratum, int], seed: int, data: st.DataObject) -> None:
    strata, there = strata_of(sizes), sum(sizes.values())
    count = data.draw(st.integers(2, there))
    chosen = Counter(strata[name] for name in choose(strata, count, seed))
    assert chosen.total() == count
    for split in SPLITS:
        in_split = {stratum: size for stratum, size in sizes.items() if stratum[0] == split}
        size, seats = sum(in_split.values()), sum(chosen[stratum] for stratum in in_split)
        assert seats >= 1
        assert abs(seats - count * size / there) < 1
        assert all(abs(chosen[stratum] - seats * part / size) < 1 for stratum, part in in_split.items())


@settings(deadline=None)
@given(sizes=sizes, seed=st.integers(0, 3), data=st.data())
def test_a_choice_depends_on_no_order_and_lies_within_a_larger_one(
    sizes: dict[Stratum, int], seed: int, data: st.DataObject
) -> None:
    strata = strata_of(sizes)
    less, more = sorted(data.draw(st.lists(st.integers(2, len(strata)), min_size=2, max_size=2)))
    smaller, larger = choose(strata, less, seed), choose(strata, more, seed)
    shuffled = data.draw(st.permutations(list(strata)))
    assert choose({name: strata[name] for name in shuffled}, less, seed) == smaller
    lost = Counter(strata[name] for name in smaller - larger)
    assert all(count == 1 for count in lost.values()), "a class loses one clip at most, to another's remainder"


def test_another_seed_chooses_other_clips() -> None:
    strata = strata_of({("train", 0): 30, ("val", 0): 30})
    assert choose(strata, 20, 0) != choose(strata, 20, 1)


@pytest.mark.parametrize(
    ("pixels", "latents"), [("raw", "float16"), ("jpeg", "int8"), ("none", "float16"), ("raw", "int8")]
)
def test_every_row_is_copied_as_it_is_stored(
    pixels: PixelFormat, latents: LatentFormat, store_of: StoreOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "SHARD_CLIPS", 8)
    store = store_of(pixels, latents)
    shown: list[int] = []
    small = subset(store, tmp_path / "small", 21, 0, overwrite=False, advance=shown.append)
    assert (len(small.train), len(small.val)) == (14, 7)
    assert sum(shown) == 21
    assert {name: small.manifest[name] for name in ("labels", "videos", "skipped", "generation")} == {
        "labels": store.labels, "videos": str(store.videos), "skipped": [], "generation": 0,
    }  # fmt: skip
    assert [shard["rows"] for shard in small.manifest["shards"]] == [24, 18, 7]
    for split in SPLITS:
        theirs, ours = store.clips(split), small.clips(split)
        for clip, name in enumerate(ours.ids):
            origin = theirs.ids.index(name)
            assert (ours.labels[clip], ours.videos[clip]) == (theirs.labels[origin], theirs.videos[origin])
            assert (ours.digests[clip] == theirs.digests[origin]).all()
            for view in range(ours.views):
                assert (small.pixels(ours, clip, view) == store.pixels(theirs, origin, view)).all()
                assert (small.latents(ours, clip, view) == store.latents(theirs, origin, view)).all()
    columns = ["frames", "flip", "video_bytes", "pixels_bytes"]
    rows = {
        path: {(row["id"], row["view"]): row for row in pq.read_table(path / "index.parquet").to_pylist()}
        for path in (store.path, small.path)
    }
    assert all(
        [row[name] for name in columns] == [rows[store.path][key][name] for name in columns]
        for key, row in rows[small.path].items()
    )


def test_the_statistics_are_its_own_but_for_what_rounding_did(store_of: StoreOf, tmp_path: Path) -> None:
    store = store_of("raw", "int8")
    small = subset(store, tmp_path / "small", 12, 3, overwrite=False, advance=ignore)
    clips = range(len(small.train))
    values = np.stack([small.latents(small.train, clip, view) for clip in clips for view in range(3)]).astype(float)
    np.testing.assert_allclose(small.teacher.mean, values.mean(axis=(0, 1)), atol=1e-9)
    np.testing.assert_allclose(small.teacher.variance, values.var(axis=(0, 1)), rtol=1e-9)
    centres = np.stack([small.latents(small.train, clip) for clip in clips])
    np.testing.assert_allclose(small.position_mean, centres.mean(axis=0), atol=1e-6)
    ours, theirs = small.manifest["latents"], store.manifest["latents"]
    for name in ("format", "view", "view_hash", "relative_error", "val_loss_added"):
        assert ours[name] == theirs[name]
    rest = {name: value for name, value in store.manifest["teacher"].items() if name not in ("mean", "variance")}
    assert rest.items() <= small.manifest["teacher"].items()
    asked_for = {"subset_of": store.manifest["fingerprint"], "clips": 12, "seed": 3, "group_by": None}
    assert small.manifest["plan"] == asked_for


def test_a_subset_can_be_trained_on_and_has_the_teacher(store: ClipStore, tmp_path: Path) -> None:
    small = subset(store, tmp_path / "small", 24, 0, overwrite=False, advance=ignore)
    assert PixelTeacher(small.path / "teacher", "cpu").sha256 == small.teacher.sha256
    training, evaluator = Training(SMALL, small, device="cpu"), Evaluator(small, EvaluationConfig(), device="cpu")
    training.train_to(4)
    assert np.isfinite(val_loss(evaluator.judge(training)))
    training.close()
    evaluator.close()


@pytest.mark.parametrize(
    ("clips", "said"),
    [(9000, "the store has 48 clips"), (1, "must be at least 2: a clip to train on and one to hold out")],
)
def test_a_number_that_cannot_be_had_is_refused(clips: int, said: str, store_of: StoreOf, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"^N = {clips}: {said}$"):
        subset(store_of("raw", "float16"), tmp_path / "small", clips, 0, overwrite=False, advance=ignore)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_kept_replaced_or_refused_as_by_a_preparation(store_of: StoreOf, tmp_path: Path) -> None:
    store, path = store_of("raw", "float16"), tmp_path / "small"
    subset(store, path, 8, 0, overwrite=False, advance=ignore)
    before, changed = content_hash(path), {file: file.stat().st_mtime_ns for file in path.iterdir()}
    assert len(subset(store, path, 8, 0, overwrite=False, advance=ignore).train) == 5
    assert {file: file.stat().st_mtime_ns for file in path.iterdir()} == changed
    with pytest.raises(StoreError, match=r"small: holds a clip store prepared otherwise; .* --overwrite$"):
        subset(store, path, 8, 1, overwrite=False, advance=ignore)
    assert content_hash(path) == before
    assert subset(store, path, 8, 1, overwrite=True, advance=ignore).manifest["plan"]["seed"] == 1
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(StoreError, match="thesis: holds something that is not a clip store; choose another"):
            subset(store, thesis, 8, 0, overwrite=overwrite, advance=ignore)
        with pytest.raises(StoreError, match=r"is the store that the clips are taken from; choose another --store$"):
            subset(store, store.path, 8, 0, overwrite=overwrite, advance=ignore)
    assert {file.name for file in tmp_path.iterdir()} == {"small", "thesis"}


@pytest.mark.parametrize("part", ["pixels", "latents", "scales"])
def test_a_damaged_row_is_not_copied(part: str, store_of: StoreOf, tmp_path: Path) -> None:
    broken = shutil.copytree(store_of("jpeg", "int8").path, tmp_path / "broken")
    file = shard_file(broken, "train-00000", part)  # type: ignore[arg-type]
    with file.open("r+b") as stream:
        stream.seek(-1, 2)
        last = stream.read(1)[0]
        stream.seek(-1, 2)
        stream.write(bytes([last ^ 1]))
    with pytest.raises(StoreError, match=r"train-00000\..*: clip '.*differ from their checksum; rebuild it"):
        subset(ClipStore.open(broken), tmp_path / "small", 48, 0, overwrite=False, advance=ignore)
    assert not (tmp_path / "small").exists()


@pytest.mark.slow  # test_append.py is killed by default
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(store: ClipStore, tmp_path: Path) -> None:
    """Also where it takes the place of another store."""
    template = tmp_path / "template"
    subset(store, template / "store", 4, 0, overwrite=False, advance=ignore)
    work = "tests.trainable.data.maintain.test_subset:small_subset"
    contents = kill_often(work, template, store.path, step=13, always=r"store(\.partial)?|replaced|plan\.json|shards")
    assert len(contents) > 10
    assert {moment for moment, content in contents.items() if content != contents[""]} == set()
