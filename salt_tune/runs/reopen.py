"""A run that was begun before: what it must still be to be gone on with."""

from pathlib import Path
from typing import Any

from analysis.run_directory.paths import RunDirectory, read_manifest
from salt_tune.runs.create import space_hash
from salt_tune.runs.same_store import reopen_store, store_facts
from salt_tune.space.search_space import SearchSpace
from salt_tune.space.space_file import reload_space
from trainable.data.store.clip_store import ClipStore
from trainable.errors import UserError
from trainable.files import write_json


def reopen(run: RunDirectory, moved_to: Path | None = None) -> tuple[dict[str, Any], SearchSpace, ClipStore]:
    """A run that was begun before: run.json, its space, its store.

    Args:
        run: the run.
        moved_to: where its store lies now, if it was moved.

    Raises:
        UserError: there is no such run, it is of another version, or its space or store has changed since.
    """
    if not run.path.exists():
        raise UserError(f"{run.path}: there is no such run")
    manifest = read_manifest(run)
    space = reload_space(run.space)
    if space_hash(space) != manifest["space_hash"]:
        raise UserError(f"{run.space}: has changed since the run began; put it back, or start a run of another name")
    store = reopen_store(run, manifest["store"], moved_to)
    return manifest, space, store


def remember_store(run: RunDirectory, manifest: dict[str, Any], store: ClipStore) -> dict[str, Any]:
    """run.json, with the place where the store lies now."""
    if manifest["store"] != (facts := store_facts(store)):
        manifest = {**manifest, "store": facts}
        write_json(run.manifest, manifest)
    return manifest
