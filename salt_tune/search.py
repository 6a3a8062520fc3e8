"""`python -m salt_tune.search`: many short trials, the weak ones stopped early, ranked on held-out clips."""

import contextlib
import subprocess
import sys
import time
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import yaml

from salt_tune.console import INTERRUPTED, OneLineErrors, console
from salt_tune.engine import Resources, count_all_parameters, ray_session, run_trials
from salt_tune.prepare import DEMO_CLIPS, DEMO_STORE
from salt_tune.progress import LiveTable
from salt_tune.records import TrialRecord
from salt_tune.run import FORMAT_VERSION, RunDirectory
from salt_tune.searcher import propose
from salt_tune.space import SearchSpace
from salt_tune.space_file import check_corners, find_space, load_space, parse_value
from salt_tune.summary import print_summary, write_summary
from salt_tune.tracking import MODES, Mode, WandbTracker
from trainable.data.store import ClipStore
from trainable.errors import UserError
from trainable.files import atomic_write, write_json
from trainable.masking import Masks
from trainable.objective import EvaluationConfig
from trainable.references import References, reference_losses

PACKAGES = ("salt_tune", "ray", "torch", "timm", "optuna", "numpy", "pyarrow")


@click.command(cls=OneLineErrors)
@click.option(
    "--space", "space_name", default="demo", show_default=True, help="Search-space file, or the name of a shipped one."
)
@click.option("--store", type=click.Path(path_type=Path), help="Clip store [default: stores/demo, made on first use].")
@click.option("--trials", type=click.IntRange(min=1), help="Number of trials [default: the space's].")
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs of a full trial [default: the space's].")
@click.option("--name", help="Name of the run [default: from the space and the time].")
@click.option(
    "--runs", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Folder of the runs."
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Seed of proposals, weights, masks and data order.",
)
@click.option(
    "--concurrent", type=click.IntRange(min=1), help="Trials at a time [default: one a GPU, or one a core, at most 4]."
)
@click.option(
    "--gpus-per-trial",
    type=click.FloatRange(min=0),
    help="GPUs of a trial, fractions allowed [default: all GPUs shared evenly].",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Replace an entry of the space: batch_size=16, schedule.scheduler=none, parameters.lr.low=1e-5.",
)
@click.option(
    "--wandb", "wandb_mode", type=click.Choice(MODES), default="off", show_default=True, help="Log to Weights & Biases."
)
def main(
    space_name: str,
    store: Path | None,
    trials: int | None,
    epochs: int | None,
    name: str | None,
    runs: Path,
    seed: int,
    concurrent: int | None,
    gpus_per_trial: float | None,
    settings: tuple[str, ...],
    wandb_mode: Mode,
) -> int:
    """Search for the hyperparameters with the best objective on a clip store."""
    overrides = {
        **_parse_settings(settings),
        **{k: v for k, v in {"trials": trials, "schedule.epochs": epochs}.items() if v},
    }
    space = load_space(space_name, overrides)
    if name and Path(name).name != name:
        raise UserError(f"--name = {name!r}: must be a plain name; --runs says in which folder")
    run = RunDirectory(runs / (name or f"{space.name}-{datetime.now():%Y%m%d-%H%M%S}"))
    if run.path.exists():
        raise UserError(f"{run.path}: this run exists; give another --name, or delete it to start over")
    clips = _open_store(store)
    check_store(find_space(space_name), space, clips)
    references = _references(space, clips)
    proposals = propose(space, seed)
    with ray_session(min(len(proposals), concurrent) if concurrent else None, gpus_per_trial) as resources:
        records = count_all_parameters(proposals, clips)
        _create(run, space, clips, seed, resources, references)
        return _search(run, space, clips, records, resources, seed, wandb_mode, references)


def _parse_settings(settings: tuple[str, ...]) -> dict[str, Any]:
    parsed = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise click.UsageError(f"--set {setting}: must be KEY=VALUE, such as --set batch_size=16")
        parsed[key] = parse_value(value)
    return parsed


def _open_store(path: Path | None) -> ClipStore:
    """The store to search on; the embedded default is prepared where it is not there yet."""
    if path is None and not DEMO_STORE.exists():
        console.print(f"No --store given: preparing {DEMO_STORE}, {DEMO_CLIPS} videos of moving shapes.")
        # In a process of its own, so that this one stays without torch.
        command = [
            sys.executable,
            "-m",
            "salt_tune.prepare",
            "--synthetic",
            str(DEMO_CLIPS),
            "--store",
            str(DEMO_STORE),
        ]
        if code := subprocess.run(command, check=False).returncode:
            sys.exit(code)
    store = ClipStore.open(path or DEMO_STORE)
    _ = store.teacher  # refuses a store without latents
    return store


def check_store(path: Path, space: SearchSpace, store: ClipStore) -> None:
    """Checks every corner of the space, and the evaluation, against the store.

    Raises:
        UserError: a batch that is too large, or a mask that leaves nothing.
    """
    check_corners(path, space, lambda config: config.check_data(store.view, len(store.train)))
    try:
        Masks(store.view, space.evaluation.masking, space.evaluation.mask_ratio, space.evaluation.seed)
    except UserError as error:
        raise UserError(f"{path}: evaluation.{error}") from error


def _references(space: SearchSpace, store: ClipStore) -> References:
    """What predictors that learned nothing lose where the trials will be judged."""
    with console.status(f"reading {min(len(store.val), space.evaluation.clips)} held-out clips"):
        return reference_losses(store, EvaluationConfig(**space.evaluation.model_dump()))


def _create(
    run: RunDirectory, space: SearchSpace, store: ClipStore, seed: int, resources: Resources, references: References
) -> None:
    run.path.mkdir(parents=True)
    write_json(
        run.manifest,
        {
            "format_version": FORMAT_VERSION,
            "name": run.path.name,
            "created": datetime.now().astimezone().isoformat(timespec="seconds"),
            "command": sys.argv,
            "store": store_facts(store),
            "references": references.to_dict(),
            "seed": seed,
            "resources": resources.__dict__,
            "versions": {"python": sys.version.split()[0], **{package: version(package) for package in PACKAGES}},
        },
    )
    with atomic_write(run.space) as temporary:
        temporary.write_text(yaml.safe_dump(space.model_dump(mode="json"), sort_keys=False), encoding="utf-8")


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


def _search(
    run: RunDirectory,
    space: SearchSpace,
    store: ClipStore,
    records: dict[str, TrialRecord],
    resources: Resources,
    seed: int,
    wandb_mode: Mode,
    references: References,
) -> int:
    from salt_tune.recorder import Recorder  # loads Ray

    started = time.perf_counter()
    trials = list(records.values())
    console.print(
        f"{run.path.name}: {len(trials)} trials of up to {space.schedule.epochs} epochs on {store.path} "
        f"({len(store.train)} training clips), {resources.concurrent} at a time"
    )
    with contextlib.ExitStack() as stack:
        listeners: list[Any] = [stack.enter_context(LiveTable(records, space))]
        if wandb_mode != "off":
            listeners.append(stack.enter_context(WandbTracker(wandb_mode, run.path, run.path.name)))
        recorder = Recorder(records, run.reports, space.schedule.epochs, listeners)
        run_trials(run, space, store, trials, resources, recorder)
    summary = write_summary(
        run,
        space,
        trials,
        store=store_facts(store),
        references=references,
        seed=seed,
        wall_seconds=time.perf_counter() - started,
    )
    console.print()
    print_summary(run, summary)
    if any(record.state == "interrupted" for record in trials):
        return INTERRUPTED
    return 0 if summary["best"] else 1


if __name__ == "__main__":
    main()
