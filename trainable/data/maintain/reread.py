"""Reads the videos of a store again where its frames were read by random access.

What differs is put into the index, under which the rows that hold other frames are damaged rows: `repair` makes them
good. So a repair that is killed goes on as any other.
"""

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from trainable.data.build.decoding import Decoders
from trainable.data.build.finalize import fingerprint, index_name, write_index
from trainable.data.build.stages import Advance
from trainable.data.maintain.repair import refuse_rows
from trainable.data.maintain.rows import all_rows
from trainable.data.maintain.verify import decode_rows
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.index import INDEX_SCHEMA
from trainable.data.store.manifest import FORMAT_VERSION
from trainable.data.video.reader import READING
from trainable.errors import VideoError
from trainable.files import write_json

UNKNOWN_LATENTS = 0  # a checksum for latents that are to be computed: as good as none has it

Name = tuple[str, str, int]  # split, clip and view


@dataclass
class Reread:
    """What the videos of a store decode to in order, where that is not what it holds.

    Attributes:
        rows: how many rows were read again.
        frames: indices of the frames taken, of rows that hold others.
        pixels: checksum and stored bytes of the pixels, of rows whose pixels differ.
    """

    rows: int = 0
    frames: dict[Name, list[int]] = field(default_factory=dict)
    pixels: dict[Name, tuple[int, int]] = field(default_factory=dict)


def read_again(store: ClipStore, decoders: Decoders, advance: Advance) -> Reread:
    """Decodes all videos of a store in order and compares frames and pixels with its index.

    Args:
        store: may have been opened with `whole=False`.
        decoders: processes that decode.
        advance: called with a number of rows when that many more were read.

    Raises:
        StoreError: videos that are gone, damaged or cut short: random access read some of those.
    """
    index = pq.read_table(store.path / store.manifest["index"], schema=INDEX_SCHEMA, columns=[*_NAME, "frames"])
    names = zip(*(index[name].to_pylist() for name in _NAME), strict=True)
    frames = dict(zip(names, index["frames"].to_pylist(), strict=True))
    found, refused = Reread(), list[str]()
    for row, result in decode_rows(store, all_rows(store), decoders):
        name: Name = (row.split, row.id, row.view)
        found.rows += 1
        advance(1)
        if isinstance(result, VideoError):
            refused.append(str(result))
            continue
        if (taken := result.frames.tolist()) != frames[name]:
            found.frames[name] = taken
        if (checksum := result.digests[row.view]) != row.pixels:
            found.pixels[name] = checksum, len(result.stored[row.view]) if result.stored else 0
    refuse_rows(refused, "put a whole copy back, or prepare the store again with --overwrite")
    return found


def accept(store: ClipStore, found: Reread) -> None:
    """Puts what was found into the index, and into the manifest how it was read; both at once."""
    old, generation = store.path / store.manifest["index"], store.manifest["generation"] + 1
    rows = pq.read_table(old, schema=INDEX_SCHEMA).to_pylist()
    shards = (shard["name"] for shard in store.manifest["shards"])
    ends = {shard: next(store.parts(shard))[1][0] for shard in shards} if store.pixel_format == "jpeg" else {}
    for row in rows:
        name = (row["split"], row["id"], row["view"])
        row["frames"] = found.frames.get(name, row["frames"])
        if name in found.pixels:
            row["pixels_xxh3"], size = found.pixels[name]
            row["latents_xxh3"] = UNKNOWN_LATENTS
            if ends:  # behind the others: it may be longer than the one before
                row["pixels_start"], row["pixels_bytes"] = ends[row["shard"]], size
                ends[row["shard"]] += size
    index = pa.Table.from_pylist(rows, schema=INDEX_SCHEMA)
    write_index(store.path / index_name(generation), index)
    renewed = {"generation": generation, "index": index_name(generation), "fingerprint": fingerprint(index)}
    plan = {**store.manifest["plan"], "reading": READING["order"]} if "videos" in store.manifest["plan"] else {}
    manifest = {**store.manifest, "format_version": FORMAT_VERSION, "reading": READING, **renewed}
    write_json(store.path / "manifest.json", {**manifest, "plan": plan or store.manifest["plan"]})
    old.unlink()


_NAME = ("split", "id", "view")
