"""The clip store of a run: what run.json remembers of it, and how it is found again, even where it was moved."""

from pathlib import Path
from typing import Any

from analysis.run_directory.paths import RunDirectory
from trainable.data.store.clip_store import ClipStore
from trainable.errors import UserError


def store_facts(store: ClipStore) -> dict[str, Any]:
    """What a run remembers of its store; stores that differ in the path alone are the same."""
    return {
        "path": str(store.path.absolute()),
        "view_hash": store.view.hash,
        "teacher": store.teacher.name,
        "teacher_sha256": store.teacher.sha256,
        "train_clips": len(store.train),
        "val_clips": len(store.val),
        "fingerprint": store.manifest["fingerprint"],
    }


def reopen_store(run: RunDirectory, facts: dict[str, Any], moved_to: Path | None) -> ClipStore:
    """The store that a run was begun on.

    Args:
        run: the run.
        facts: what it remembers of its store.
        moved_to: where the store lies now; None: where it lay.

    Raises:
        UserError: it is not there, or another one is: a store that has grown is another one, too.
    """
    if moved_to is None and not Path(facts["path"]).exists():
        raise UserError(f"{facts['path']}: no such clip store; where it was moved, say where to with --store PATH")
    store = ClipStore.open(moved_to or facts["path"])
    for name, value in store_facts(store).items():
        if name != "path" and value != facts[name]:
            what = f"is another store than {run.path.name}'s" if moved_to else "has changed since the run began"
            raise UserError(f"{store.path}: {what}: {name} = {value!r}, and was {facts[name]!r}")
    return store
