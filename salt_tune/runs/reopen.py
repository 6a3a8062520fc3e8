"""A run that was begun before: what it must still be to be gone on with."""

from pathlib import Path
from typing import Any

from analysis.run_directory.paths import RunDirectory, read_manifest
from salt_tune.runs.create import space_hash
from salt_tune.runs.same_store import reopen_data
from salt_tune.space.search_space import SearchSpace
from salt_tune.space.space_file import reload_space
from trainable.errors import UserError
from trainable.files import write_json
from trainable.worker import Dataset


def reopen(run: RunDirectory, moved_to: Path | None = None) -> tuple[dict[str, Any], SearchSpace, Dataset]:
    """Reopens a run that was begun before: run.json, its space, its data.

    Args:
        run: the run.
        moved_to: where its data lie now, if they were moved.

    Raises:
        UserError: there is no such run, it is of another version, or its space or its data have changed since.
    """
    if not run.path.exists():
        raise UserError(f"{run.path}: there is no such run")
    manifest = read_manifest(run)
    space = reload_space(run.space)
    if space_hash(space) != manifest["space_hash"]:
        raise UserError(f"{run.space}: has changed since the run began; put it back, or start a run of another name")
    return manifest, space, reopen_data(run, space.task, manifest["store"], moved_to)


def remember(run: RunDirectory, manifest: dict[str, Any]) -> dict[str, Any]:
    """Writes run.json anew where it has changed, such as where the data lie now; returns it."""
    if read_manifest(run) != manifest:
        write_json(run.manifest, manifest)
    return manifest
