"""A run's beginning and how it is taken up again: run.json and space.yaml, and the search that stands behind them."""

import hashlib
import json
import shutil
import sys
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from salt_tune.console import console
from salt_tune.journal import Journal
from salt_tune.run import FORMAT_VERSION, RunDirectory, read_manifest
from salt_tune.schedulers import make_scheduler
from salt_tune.searcher import make_searcher
from salt_tune.space import SearchSpace
from salt_tune.space_file import dump_space, reload_space
from salt_tune.state import Options
from salt_tune.steering import Steering
from salt_tune.study import StudyView
from salt_tune.warm_start import EarlierTrial, earlier_trials
from trainable.data.store import ClipStore
from trainable.errors import UserError
from trainable.files import atomic_write, sync_folder, write_json
from trainable.references import References

PACKAGES = ("salt_tune", "ray", "torch", "timm", "optuna", "numpy", "pyarrow")


def create(
    run: RunDirectory,
    space: SearchSpace,
    store: ClipStore,
    options: Options,
    references: References,
    earlier: list[EarlierTrial],
    resources: dict[str, Any],
) -> dict[str, Any]:
    """Writes what was asked, and returns run.json; the folder takes its name when both files are in it."""
    manifest = {
        "format_version": FORMAT_VERSION,
        "name": run.path.name,
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": sys.argv,
        "store": store_facts(store),
        "space_hash": space_hash(space),
        "references": references.to_dict(),
        **asdict(options),
        "warm_start": [asdict(trial) for trial in earlier],
        "resources": resources,
        "versions": {"python": sys.version.split()[0], **{package: _version(package) for package in PACKAGES}},
    }
    partial = RunDirectory(run.path.with_name(f"{run.path.name}.partial"))
    shutil.rmtree(partial.path, ignore_errors=True)
    partial.path.mkdir(parents=True)
    try:
        with atomic_write(partial.space) as temporary:
            temporary.write_text(dump_space(space), encoding="utf-8")
        write_json(partial.manifest, manifest)
        partial.path.rename(run.path)
    except BaseException:
        shutil.rmtree(partial.path, ignore_errors=True)
        raise
    sync_folder(run.path.parent)
    return manifest


def _version(package: str) -> str | None:
    """Which one is installed; None where it is only found, as in a checkout."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def store_facts(store: ClipStore) -> dict[str, Any]:
    """What a run remembers of its store."""
    return {
        "path": str(store.path.absolute()),
        "view_hash": store.view.hash,
        "teacher": store.teacher.name,
        "teacher_sha256": store.teacher.sha256,
        "train_clips": len(store.train),
        "val_clips": len(store.val),
    }


def space_hash(space: SearchSpace) -> str:
    """The same for the same space, whatever its file looks like."""
    return hashlib.sha256(json.dumps(space.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def reopen(run: RunDirectory) -> tuple[dict[str, Any], SearchSpace, ClipStore]:
    """A run that was begun before: run.json, its space, its store.

    Raises:
        UserError: there is no such run, it is of another version, or its space or store has changed since.
    """
    if not run.path.exists():
        raise UserError(f"{run.path}: there is no such run")
    manifest = read_manifest(run)
    space = reload_space(run.space)
    if space_hash(space) != manifest["space_hash"]:
        raise UserError(f"{run.space}: has changed since the run began; put it back, or start a run of another name")
    store = ClipStore.open(Path(manifest["store"]["path"]))
    for name, value in store_facts(store).items():
        if name != "path" and value != manifest["store"][name]:
            raise UserError(
                f"{store.path}: has changed since the run began: "
                f"{name} = {value!r}, and was {manifest['store'][name]!r}"
            )
    return manifest, space, store


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
    searcher.warm([_earlier(entry) for entry in manifest["warm_start"]])
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


def warm_trials(runs: tuple[Path, ...], space: SearchSpace, store: ClipStore) -> list[EarlierTrial]:
    """The trials of earlier runs that this search may learn from; see `salt_tune.warm_start`."""
    trials = []
    for path in runs:
        earlier = earlier_trials(path, store_facts(store), space)
        trials += earlier.trials
        left_out = "".join(f"; {count} left out: {why}" for why, count in earlier.left_out.items())
        console.print(f"{path}: proposals learn from {len(earlier.trials)} of its trials{left_out}")
    return trials
