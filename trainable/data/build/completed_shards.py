"""What `STORE.partial/shards/` says of each shard that is whole, until the index takes it over."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from trainable.data.store.index import INDEX_SCHEMA
from trainable.data.store.shards import Half
from trainable.files import write_json

Row = dict[str, Any]


class CompletedShards:
    """The shards of a staged store that are whole, a file each.

    Args:
        folder: where they lie.
        names: the shards that the store will have, in order.
    """

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        self.folder, self._names = folder, list(names)

    def write(self, name: str, rows: list[Row], skipped: list[dict[str, str]]) -> None:
        """Records that a shard is whole: its rows of the index, and the clips that were left out."""
        write_json(self._file(name), {"rows": rows, "skipped": skipped})

    def write_latents(self, name: str, facts: dict[str, Any]) -> None:
        """Records that a shard's latents are whole: what `ShardWriter.latent_facts` says of them."""
        write_json(self._file(name, "latents"), facts)

    def has(self, name: str, half: Half = "pixels") -> bool:
        """Says whether a shard, or its latents, are whole."""
        return self._file(name, half).exists()

    def shards(self) -> Iterator[tuple[str, list[Row]]]:
        """Yields the names and rows of the shards that hold any."""
        for name in self._names:
            if rows := self._read(name)["rows"]:
                yield name, rows

    def skipped(self) -> list[dict[str, str]]:
        """Returns the clips that could not be prepared: `id`, `split`, `reason`, and as `log` what the decoder said."""
        return [clip for name in self._names for clip in self._read(name)["skipped"]]

    def index(self, *, latents: bool) -> pa.Table:
        """Returns the index: one row a stored view; without the latents' checksums, where there are no latents yet."""
        tables = [INDEX_SCHEMA.empty_table()]
        for name, rows in self.shards():
            digests = self._read(name, "latents")["digests"] if latents else [None] * len(rows)
            rows = [{**row, "latents_xxh3": one} for row, one in zip(rows, digests, strict=True)]
            tables.append(pa.Table.from_pylist(rows, schema=INDEX_SCHEMA))
        return pa.concat_tables(tables)

    def latent_facts(self, split: str) -> Iterator[dict[str, Any]]:
        """Returns what was recorded of the latents of each shard of a split."""
        named = (name for name in self._names if name.startswith(f"{split}-"))
        return (self._read(name, "latents") for name in named if self.has(name, "latents"))

    def _file(self, name: str, half: Half = "pixels") -> Path:
        return self.folder / f"{name}.{half}.json"

    def _read(self, name: str, half: Half = "pixels") -> Any:
        return json.loads(self._file(name, half).read_text(encoding="utf-8"))
