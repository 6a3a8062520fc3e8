"""A run's beginning: its name is claimed, and run.json and space.yaml are written."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from analysis.run_directory.paths import FORMAT_VERSION, RunDirectory
from analysis.run_directory.trials import Trial
from salt_tune.runs.lock import locked, locked_folder, sweep
from salt_tune.runs.warm_start import remember_trial
from salt_tune.space.description import describe
from salt_tune.space.search_space import SearchSpace
from salt_tune.space.space_file import dump_space
from salt_tune.ui.format import resume_command
from trainable.errors import UserError
from trainable.files import atomic_write, sync_folder, write_json
from trainable.worker import Dataset

STAGING = ".salt-tune-"  # begins the names of folders that runs are made in; no run's name begins with a dot
LONGEST_NAME = 200  # bytes: a file's name has 255, and a lock's is longer than its run's
STARTING = "this run is being started by another process ({holder}); wait for it, or give another --name"


def new_run(runs: Path, name: str | None, space: SearchSpace) -> RunDirectory:
    """Returns the directory of a run to be begun, which is not there yet.

    Args:
        runs: folder of the runs.
        name: of the run; None: from the space and the time.
        space: what is searched.

    Raises:
        UserError: it is there, or no run can have that name.
    """
    given = f"--name = {name!r}" if name is not None else f"name = {space.name!r} of the space"
    name = f"{space.name}-{datetime.now():%Y%m%d-%H%M%S}" if name is None else name
    if not name or name.startswith(".") or "/" in name or not name.isprintable():
        raise UserError(f"{given}: must be a plain name, without a dot before it; --runs says in which folder")
    if len(name.encode()) > LONGEST_NAME:
        raise UserError(f"{given}: has {len(name.encode())} bytes; must have at most {LONGEST_NAME}")
    run = RunDirectory(runs / name)
    _refuse_existing(run)
    return run


def _refuse_existing(run: RunDirectory) -> None:
    if os.path.lexists(run.path):
        raise UserError(
            f"{run.path}: this run exists; give another --name, or go on with it: {resume_command(run.path)}"
        )


@contextmanager
def claimed(run: RunDirectory) -> Iterator[None]:
    """Holds the name of a run that is being started; the folder of the runs is there meanwhile.

    Raises:
        UserError: another process starts a run of that name, or has just done so.
    """
    runs = run.path.parent
    made = [folder for folder in (runs, *runs.parents) if not folder.exists()]
    runs.mkdir(parents=True, exist_ok=True)
    try:
        with locked(runs / f".{run.path.name}.lock", STARTING, of=run.path, remove=True):
            _refuse_existing(run)
            sweep(runs, STAGING, keep=f"run/{run.manifest.name}")
            yield
    finally:
        for folder in made:
            with contextlib.suppress(OSError):  # a run is in it
                folder.rmdir()


@contextmanager
def created(
    run: RunDirectory,
    space: SearchSpace,
    data: Dataset,
    settings: Mapping[str, Any],
    baselines: Mapping[str, float],
    earlier: Sequence[Trial],
    resources: dict[str, Any],
    diff: bytes | None = None,
) -> Iterator[dict[str, Any]]:
    """Writes what was asked; the folder takes its name when all of it is there.

    Args:
        run: where to.
        space: what is searched.
        data: what trials are trained and judged on.
        settings: how it is searched: the fields of `salt_tune.controller.settings.Settings`, and what else run.json is
            to have.
        baselines: what predictors get that learned nothing.
        earlier: the trials of other runs that suggestions learn from.
        resources: what each trial gets of the machine.
        diff: of the working folder, see `salt_tune.runs.provenance`; None: there is none.

    Yields:
        run.json; this process holds the run's lock until the block ends, from before there was a run.
    """
    manifest = {
        "format_version": FORMAT_VERSION,
        "name": run.path.name,
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "store": data.facts(),
        "asked": space.trials,
        **describe(space),
        "space_hash": space_hash(space),
        "baselines": dict(baselines),
        **settings,
        "warm_start": [remember_trial(trial) for trial in earlier],
        "resources": resources,
    }
    with contextlib.ExitStack() as lock:
        with locked_folder(run.path.parent, STAGING) as folder:
            staged = RunDirectory(folder / "run")
            staged.path.mkdir()
            lock.enter_context(locked(staged.lock))
            with atomic_write(staged.space) as temporary:
                temporary.write_text(dump_space(space), encoding="utf-8")
            if diff is not None:
                with atomic_write(staged.diff) as temporary:
                    temporary.write_bytes(diff)
            write_json(staged.manifest, manifest)
            _refuse_existing(run)
            staged.path.rename(run.path)
        sync_folder(run.path.parent)
        yield manifest


def space_hash(space: SearchSpace) -> str:
    """Returns the same hash for the same space, whatever its file looks like."""
    return hashlib.sha256(json.dumps(space.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()
