"""The groups of a store's clips: how they were made, and on which side of the split each stands."""

import pyarrow.parquet as pq

from trainable.data.store.clip_store import ClipStore
from trainable.data.store.index import INDEX_SCHEMA
from trainable.data.video.grouping import FLAG, Grouping, in_words
from trainable.data.video.video_dataset import Split
from trainable.errors import StoreError, UserError


def grouping_of(store: ClipStore, given: Grouping | None) -> Grouping | None:
    """Returns how clips that are added to a store are grouped: as its own are.

    Args:
        store: has its clips grouped, or not.
        given: how the new ones are to be; None: as the store remembers.

    Raises:
        UserError: otherwise than the store's, or it remembers a column but not the table.
    """
    rule = store.manifest["plan"].get("group_by")
    if given is not None:
        check_group_by(store, given.rule)
    elif rule is not None and "pattern" not in rule:
        raise UserError(
            f"{store.path}: its clips were split by the column {rule['column']!r} of a table: "
            f"name one of the new clips too, by {FLAG} FILE.csv:{rule['column']}"
        )
    return given or (Grouping(rule["pattern"]) if rule else None)


def check_group_by(store: ClipStore, rule: dict[str, str] | None) -> None:
    """Refuses clips that are grouped otherwise than those of the store that they are added to.

    Raises:
        StoreError: they are.
    """
    own = store.manifest["plan"].get("group_by")
    if rule != own:
        raise StoreError(
            f"{store.path}: its clips were {in_words(own)}, and those to be added are {in_words(rule)}; "
            "group them alike, or prepare the store again"
        )


def sides_of(store: ClipStore) -> dict[str, Split]:
    """Returns the side of the split that each group of a store stands on."""
    index = pq.read_table(store.path / store.manifest["index"], columns=["group", "split"], schema=INDEX_SCHEMA)
    sides = dict(zip(index["group"].to_pylist(), index["split"].to_pylist(), strict=True))
    return {group: split for group, split in sides.items() if group is not None}
