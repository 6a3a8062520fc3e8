"""The index: what is written of a clip is read of the same clip, and what does not fit together is refused."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainable.data.store.index import INDEX_SCHEMA, Clips, read_index
from trainable.errors import StoreError
from trainable.hashing import clip_key

Row = dict[str, Any]

names = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8), min_size=2, max_size=12, unique=True)
VIEWS = 3


def rows_of(ids: list[str], held_out: int, views: int) -> list[Row]:
    """The index of a store with a shard for each split; the last `held_out` clips are the held-out ones."""
    rows: list[Row] = []
    for split, chosen, count in (("train", ids[:-held_out], views), ("val", ids[-held_out:], 1)):
        for number, name in enumerate(chosen):
            for view in range(count):
                at = number * count + view
                rows.append(
                    {
                        "id": name,
                        "view": view,
                        "split": split,
                        "label": number % 5,
                        "shard": f"{split}-00000",
                        "row": at,
                        "frames": [0, 2],
                        "flip": view == 1,
                        "video": f"{name}.webm",
                        "video_bytes": 100,
                        "pixels_start": 10 * at,
                        "pixels_bytes": 10,
                        "pixels_xxh3": 2**64 - 1 - at,
                        "latents_xxh3": 2**63 + at,
                        "group": f"scene {number // 2}" if number % 3 else None,
                    }
                )
    return rows


def read(
    folder: Path, rows: list[Row], shards: dict[str, int] | None = None, views: int = VIEWS
) -> tuple[Clips, Clips]:
    """Writes an index and reads it; `shards` are the rows that the manifest states, those of the index by default."""
    pq.write_table(pa.Table.from_pylist(rows, schema=INDEX_SCHEMA), folder / "index.parquet")
    if shards is None:
        shards = {row["shard"]: sum(other["shard"] == row["shard"] for other in rows) for row in rows}
    stated = [{"name": name, "rows": count} for name, count in shards.items()]
    return read_index(folder, {"index": "index.parquet", "shards": stated, "view": {"views": views}})


@settings(max_examples=40, deadline=None)
@given(ids=names, views=st.integers(1, 4), data=st.data())
def test_what_was_written_of_a_clip_is_read_of_it_whatever_the_order(
    ids: list[str], views: int, data: st.DataObject
) -> None:
    rows = rows_of(ids, 1, views)
    shuffled = data.draw(st.permutations(rows))
    with tempfile.TemporaryDirectory() as folder:
        train, val = read(Path(folder), shuffled, views=views)
    assert (train.split, train.views, val.split, val.views) == ("train", views, "val", 1)
    assert set(train.ids) == set(ids[:-1])
    assert val.ids == (ids[-1],)
    assert list(train.ids) == sorted(train.ids)
    for clips in (train, val):
        for clip, name in enumerate(clips.ids):
            written = [row for row in rows if row["id"] == name]
            first = written[0]
            assert clips.keys[clip] == clip_key(name)
            assert clips.labels[clip] == first["label"]
            assert clips.groups[clip] == first["group"]
            assert (clips.shards[clip], clips.rows[clip]) == (first["shard"], first["row"])
            assert clips.videos[clip] == first["video"]
            assert clips.jpegs[clip].tolist() == [[row["pixels_start"], row["pixels_bytes"]] for row in written]
            assert clips.digests[clip].tolist() == [[row["pixels_xxh3"], row["latents_xxh3"]] for row in written]


def test_without_jpegs_and_latents_there_is_nothing_to_read_of_them(tmp_path: Path) -> None:
    left_out = {"pixels_start": None, "pixels_bytes": None, "latents_xxh3": None}
    train, _ = read(tmp_path, [row | left_out for row in rows_of(["a", "b", "c"], 1, VIEWS)])
    assert not train.jpegs.any()
    assert not train.digests[:, :, 1].any()
    assert train.digests[:, :, 0].all()


@given(ids=names, epoch=st.integers(0, 10_000))
def test_each_view_has_its_turn_in_as_many_epochs_as_there_are_views(ids: list[str], epoch: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        train, val = read(Path(folder), rows_of(ids, 1, VIEWS))
    shown = np.stack([train.views_at(epoch + later) for later in range(VIEWS)])
    assert shown.shape == (VIEWS, len(train))
    assert (np.sort(shown, axis=0) == np.arange(VIEWS)[:, None]).all()
    assert (train.views_at(epoch + VIEWS) == shown[0]).all()
    assert (val.views_at(epoch) == 0).all()


def test_an_epoch_shows_as_much_of_each_view(tmp_path: Path) -> None:
    train, _ = read(tmp_path, rows_of([str(number) for number in range(601)], 1, VIEWS))
    counts = np.bincount(train.views_at(0), minlength=VIEWS)
    assert counts.min() > 150, counts


def change(at: int, **values: Any) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [row | (values if number == at else {}) for number, row in enumerate(rows)]


def swap_rows(rows: list[Row]) -> list[Row]:
    """The second and third view of the first clip lie in each other's rows."""
    return change(1, row=2)(change(2, row=1)(rows))


MISFITS: dict[str, Callable[[list[Row]], list[Row]]] = {
    "a view is missing": lambda rows: rows[:1] + rows[2:],
    "the last view is missing": lambda rows: rows[:2] + rows[3:],
    "a view is there twice": change(1, view=0),
    "views begin with 1": lambda rows: [row | {"view": row["view"] + (row["split"] == "train")} for row in rows],
    "views are not in consecutive rows": swap_rows,
    "a held-out clip has two views": lambda rows: [*rows, rows[-1] | {"view": 1, "row": rows[-1]["row"] + 1}],
    "a clip is in both splits": change(0, split="val"),
    "no label": change(3, label=None),
    "no row": change(3, row=None),
    "no name": change(3, id=None),
    "no view": change(3, view=None),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_an_index_whose_views_do_not_fit_together_is_refused(tmp_path: Path, misfit: str) -> None:
    rows = rows_of(["a", "b", "c", "d", "e"], 2, VIEWS)
    assert len(read(tmp_path, rows)[0]) == 3
    with pytest.raises(StoreError) as caught:
        read(tmp_path, MISFITS[misfit](rows))
    assert str(caught.value).startswith(f"{tmp_path / 'index.parquet'}: does not fit manifest.json; ")


@pytest.mark.parametrize(
    "shards",
    [{"train-00000": 9}, {"train-00000": 9, "val-00000": 3}, {"train-00000": 9, "val-00000": 2, "val-00001": 1}, {}],
)
def test_an_index_of_other_shards_is_refused(tmp_path: Path, shards: dict[str, int]) -> None:
    rows = rows_of(["a", "b", "c", "d", "e"], 2, VIEWS)
    read(tmp_path, rows, {"train-00000": 9, "val-00000": 2})
    with pytest.raises(StoreError, match=r"index\.parquet: does not fit manifest\.json"):
        read(tmp_path, rows, shards)


def test_what_is_no_index_is_refused(tmp_path: Path) -> None:
    manifest = {"index": "index-2.parquet", "shards": [], "view": {"views": 1}}
    with pytest.raises(StoreError, match=r"index-2\.parquet: missing; restore it, or .* with --overwrite$"):
        read_index(tmp_path, manifest)
    (tmp_path / "index-2.parquet").write_text("no parquet")
    with pytest.raises(StoreError, match=r"index-2\.parquet: truncated or damaged; restore it, or .* --overwrite$"):
        read_index(tmp_path, manifest)
