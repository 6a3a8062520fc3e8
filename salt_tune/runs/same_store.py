"""The data of a run, such as a clip store: found again by what run.json remembers of it, even where it was moved."""

from pathlib import Path
from typing import Any

from analysis.run_directory.paths import RunDirectory
from trainable.errors import UserError
from trainable.task import Task
from trainable.worker import Dataset


def reopen_data(run: RunDirectory, task: Task, facts: dict[str, Any], moved_to: Path | None) -> Dataset:
    """Opens what a run was begun on.

    Args:
        run: the run.
        task: that it trains.
        facts: what it remembers of its data, see `Dataset.facts`.
        moved_to: where the data lie now; None: where they lay.

    Raises:
        UserError: they are not there, or others are: a store that has grown is another one, too.
    """
    if moved_to is None and not Path(facts["path"]).exists():
        raise UserError(f"{facts['path']}: no such clip store; where it was moved, say where to with --store PATH")
    data = task.open_data(moved_to or Path(facts["path"]))
    for name, value in data.facts().items():
        if name != "path" and value != facts[name]:
            what = f"is another store than {run.path.name}'s" if moved_to else "has changed since the run began"
            raise UserError(f"{data.path}: {what}: {name} = {value!r}, and was {facts[name]!r}")
    return data
