"""A run's beginning and how it is taken up again: run.json and space.yaml, and the search that stands behind them."""

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from analysis.run_directory.paths import FORMAT_VERSION, RunDirectory, read_manifest
from salt_tune.callbacks.optuna_study import StudyView
from salt_tune.controller.controller import Steering
from salt_tune.controller.factory import make_scheduler, make_searcher
from salt_tune.controller.state import Options
from salt_tune.options import shell_command
from salt_tune.runs.journal import Journal
from salt_tune.runs.lock import locked, locked_folder, sweep
from salt_tune.runs.same_store import reopen_store, store_facts
from salt_tune.runs.warm_start import EarlierTrial, check_comparable, earlier_trials
from salt_tune.space.search_space import SearchSpace
from salt_tune.space.space_file import dump_space, reload_space
from salt_tune.ui.console import console
from trainable.data.store.clip_store import ClipStore
from trainable.errors import UserError
from trainable.evaluate.baselines import References
from trainable.files import atomic_write, sync_folder, write_json

PACKAGES = ("salt_tune", "ray", "torch", "timm", "optuna", "numpy", "pyarrow")
GROWING = ".salt-tune-"  # begins the names of folders that runs are made in; no run's name begins with a dot
LONGEST_NAME = 200  # bytes: a file's name has 255, and a lock's is longer than its run's
STARTING = "this run is being started by another process ({holder}); wait for it, or give another --name"


def new_run(runs: Path, name: str | None, space: SearchSpace) -> RunDirectory:
    """The directory of a run to be begun, which is not there yet.

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
        again = shell_command("salt_tune.search", "--resume", run.path)
        raise UserError(f"{run.path}: this run exists; give another --name, or go on with it: {again}")


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
            sweep(runs, GROWING, keep=f"run/{run.manifest.name}")
            yield
    finally:
        for folder in made:
            with contextlib.suppress(OSError):  # a run is in it
                folder.rmdir()


@contextmanager
def created(
    run: RunDirectory,
    space: SearchSpace,
    store: ClipStore,
    options: Options,
    references: References,
    earlier: list[EarlierTrial],
    resources: dict[str, Any],
) -> Iterator[dict[str, Any]]:
    """Writes what was asked; the folder takes its name when all of it is there.

    Yields:
        run.json; this process holds the run's lock until the block ends, from before there was a run.
    """
    manifest = {
        "format_version": FORMAT_VERSION,
        "name": run.path.name,
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": [os.fsencode(word).decode(errors="backslashreplace") for word in sys.argv],
        "store": store_facts(store),
        "space_hash": space_hash(space),
        "references": references.to_dict(),
        **asdict(options),
        "warm_start": [asdict(trial) for trial in earlier],
        "resources": resources,
        "versions": {"python": sys.version.split()[0], **{package: _version(package) for package in PACKAGES}},
    }
    with contextlib.ExitStack() as lock:
        with locked_folder(run.path.parent, GROWING) as folder:
            growing = RunDirectory(folder / "run")
            growing.path.mkdir()
            lock.enter_context(locked(growing.lock))
            with atomic_write(growing.space) as temporary:
                temporary.write_text(dump_space(space), encoding="utf-8")
            write_json(growing.manifest, manifest)
            _refuse_existing(run)
            growing.path.rename(run.path)
        sync_folder(run.path.parent)
        yield manifest


def _version(package: str) -> str | None:
    """Which one is installed; None where it is only found, as in a checkout."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def space_hash(space: SearchSpace) -> str:
    """The same for the same space, whatever its file looks like."""
    return hashlib.sha256(json.dumps(space.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


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


def take_up(run: RunDirectory, manifest: dict[str, Any], space: SearchSpace) -> Steering:
    """The search as its journal left it; at its beginning where there is none.

    Raises:
        UserError: the journal or the reports are damaged.
    """
    for pattern in ("checkpoints/.*.tmp", "clip_losses/*/.*.tmp"):
        for left in run.path.glob(pattern):  # by a worker that was killed as it wrote
            left.unlink(missing_ok=True)
    options = Options(**{name: manifest[name] for name in Options.__dataclass_fields__})
    searcher = make_searcher(space, options.seed)
    searcher.warm_start([_earlier(entry) for entry in manifest["warm_start"]])
    view = StudyView(run.study, run.path.name, space)
    steering = Steering(
        space=space,
        options=options,
        scheduler=make_scheduler(space.schedule, space.trials, options.keep_checkpoints),
        searcher=searcher,
        journal=Journal(run.decisions),
        reports=Journal(run.reports),
        checkpoints=run.checkpoints,
        view=view,
    )
    steering.replay()
    view.show()
    return steering


def _earlier(entry: dict[str, Any]) -> EarlierTrial:
    """A trial as run.json has it, whose keys are texts."""
    return EarlierTrial(
        entry["parameters"], {float(rung): score for rung, score in entry["scores"].items()}, entry["state"]
    )


def comparable_runs(runs: tuple[Path, ...], space: SearchSpace) -> None:
    """Refuses runs that this search cannot learn from, as far as that is known before there is a store."""
    for path in runs:
        check_comparable(path, space)


def warm_trials(runs: tuple[Path, ...], space: SearchSpace, store: ClipStore) -> list[EarlierTrial]:
    """The trials of earlier runs that this search may learn from; see `salt_tune.runs.warm_start`."""
    trials = []
    for path in runs:
        earlier = earlier_trials(path, store_facts(store), space)
        trials += earlier.trials
        left_out = "".join(f"; {count} left out: {why}" for why, count in earlier.left_out.items())
        console.print(f"{path}: proposals learn from {len(earlier.trials)} of its trials{left_out}")
    return trials
