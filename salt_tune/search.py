"""`python -m salt_tune.search`: many short trials, the promising ones trained on, ranked on held-out clips."""

import contextlib
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import click

from analysis.run_directory.paths import RunDirectory
from salt_tune.asking import check_store, check_students, largest_models, open_store, parse_settings, references_of
from salt_tune.callbacks.live_table import LiveTable, amount, counted
from salt_tune.callbacks.wandb_logger import MODES, Mode, WandbTracker, check_wandb
from salt_tune.controller.controller import Steering
from salt_tune.controller.replicates import MOST_FINALISTS
from salt_tune.controller.state import Options
from salt_tune.held_out import few_clips
from salt_tune.options import Finite, Folder, shell_command
from salt_tune.ray_backend.tuner import (
    Resources,
    first_unbuildable,
    measure_sizes,
    packed,
    ray_session,
    run_trials,
    share_out,
)
from salt_tune.report.summary import print_summary, write_summary
from salt_tune.resources.disk_budget import check_disk, disk_bound
from salt_tune.runs.lock import locked
from salt_tune.runs.reopen import (
    claimed,
    comparable_runs,
    created,
    new_run,
    remember_store,
    reopen,
    take_up,
    warm_trials,
)
from salt_tune.space.search_space import SearchSpace
from salt_tune.space.space_file import find_space, load_space
from salt_tune.ui.console import INTERRUPTED, Deserted, OneLineErrors, console
from trainable.data.store.clip_store import ClipStore
from trainable.errors import UserError
from trainable.evaluate.baselines import References

FIXED_BY_THE_RUN = ("space_name", "trials", "epochs", "name", "seed", "seeds", "replicates", "oom_retries",
                    "keep_checkpoints", "settings", "warm_start")  # fmt: skip


class Concurrency(click.ParamType[Any]):
    """A number of trials at a time, or "auto"."""

    name = "N|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | Literal["auto"]:
        """See `click.ParamType`."""
        return value if value == "auto" else click.IntRange(min=1).convert(value, param, ctx)


@click.command(cls=OneLineErrors)
@click.option(
    "--space", "space_name", default="demo", show_default=True, help="Search-space file, or the name of a shipped one."
)
@click.option(
    "--store", type=Folder(),
    help="Clip store [default: stores/demo, made on first use]. With --resume: where it lies now, if it was moved.",
)  # fmt: skip
@click.option("--trials", type=click.IntRange(min=1), help="Number of trials [default: the space's].")
@click.option("--epochs", type=Finite(min=0, min_open=True), help="Epochs of a full trial [default: the space's].")
@click.option("--name", help="Name of the run [default: from the space and the time].")
@click.option("--runs", type=Folder(), default=Path("runs"), show_default=True, help="Folder of the runs.")
@click.option("--resume", type=Folder(), metavar="RUN", help="Go on with a run that was stopped or killed.")
@click.option("--extend", type=click.IntRange(min=1), metavar="N", help="With --resume: start N trials more.")
@click.option(
    "--warm-start", type=Folder(), multiple=True, metavar="RUN",
    help="Let proposals learn from an earlier run; can be given several times.",
)  # fmt: skip
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Seed of proposals, weights, masks and data order.",
)
@click.option(
    "--seeds", type=click.Choice(["common", "vary"]), default="common", show_default=True,
    help="Whether all trials train with the same seed, so that they differ by their hyperparameters alone.",
)  # fmt: skip
@click.option(
    "--replicates", type=click.IntRange(min=0), default=0, show_default=True,
    help="Train the finalists again with this many other seeds before a winner is named.",
)  # fmt: skip
@click.option(
    "--oom-retries", type=click.IntRange(min=0), default=0, show_default=True,
    help="How often a trial that ran out of memory is tried again.",
)  # fmt: skip
@click.option(
    "--concurrent", type=Concurrency(),
    help="Trials at a time, or auto to measure what pays [default: one a GPU, or one a core, at most 4].",
)  # fmt: skip
@click.option(
    "--gpus-per-trial",
    type=Finite(min=0),
    help="GPUs of a trial, fractions allowed [default: all GPUs shared evenly].",
)
@click.option(
    "--keep-checkpoints", type=click.IntRange(min=1), metavar="N",
    help="With freeze_thaw: paused trials that may keep a checkpoint [default: all].",
)  # fmt: skip
@click.option(
    "--disk-limit",
    type=Finite(min=0, min_open=True),
    metavar="GB",
    help="Refuse to start where more may be needed.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Replace an entry of the space: batch_size=16, schedule.scheduler=asha, parameters.lr.low=1e-5.",
)
@click.option(
    "--wandb", "wandb_mode", type=click.Choice(MODES), default="off", show_default=True, help="Log to Weights & Biases."
)
@click.pass_context
def main(context: click.Context, /, resume: Path | None, extend: int | None, **flags: Any) -> int:
    """Search for the hyperparameters with the best objective on a clip store."""
    if resume is None:
        if extend:
            raise click.UsageError("--extend: needs --resume RUN")
        return _begin(**flags)
    for name in FIXED_BY_THE_RUN:
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            flag = {"space_name": "--space", "settings": "--set"}.get(name, f"--{name.replace('_', '-')}")
            raise click.UsageError(f"{flag}: is settled by the run that --resume names; leave it out")
    return _resume(RunDirectory(resume), extend or 0, **flags)


def _begin(
    *,
    space_name: str,
    store: Path | None,
    trials: int | None,
    epochs: float | None,
    name: str | None,
    runs: Path,
    warm_start: tuple[Path, ...],
    seed: int,
    seeds: str,
    replicates: int,
    oom_retries: int,
    keep_checkpoints: int | None,
    settings: tuple[str, ...],
    **machine: Any,
) -> int:
    given = {name: value for name, value in {"trials": trials, "schedule.epochs": epochs}.items() if value}
    space = load_space(space_name, {**parse_settings(settings), **given})
    run = new_run(runs, name, space)
    comparable_runs(warm_start, space)
    shared = share_out(machine["concurrent"], machine["gpus_per_trial"])
    check_wandb(machine["wandb_mode"])
    options = Options(seed, seeds == "vary", replicates, oom_retries, keep_checkpoints)
    with contextlib.ExitStack() as starting:
        starting.enter_context(claimed(run))
        clips = open_store(store)
        check_store(find_space(space_name), space, clips)
        references = references_of(space, clips)
        earlier = warm_trials(warm_start, space, clips)
        with ray_session(shared):
            check_students(find_space(space_name), space, first_unbuildable)
            resources = _settle(run, space, clips, options, shared, machine, space.trials)
            with created(run, space, clips, options, references, earlier, asdict(resources)) as manifest:
                starting.close()
                return _search(run, manifest, take_up(run, manifest, space), clips, resources, machine["wandb_mode"])


def _resume(run: RunDirectory, extend: int, *, store: Path | None, **machine: Any) -> int:
    manifest, space, clips = reopen(run, store)
    concurrent = machine["concurrent"] or manifest["resources"]["concurrent"]
    shared = share_out(concurrent, machine["gpus_per_trial"])
    check_wandb(machine["wandb_mode"])
    with locked(run.lock):
        manifest = remember_store(run, manifest, clips)
        steering = take_up(run, manifest, space)
        with ray_session(shared):
            trials = steering.scheduler.allowed + extend
            resources = _settle(run, space, clips, steering.options, shared, machine, trials)
            if extend and (more := steering.extend(extend)) < extend:
                console.print(f"--extend {extend}: {_what_is_left(more, steering, manifest)}")
            return _search(run, manifest, steering, clips, resources, machine["wandb_mode"], resume=True)


def _settle(
    run: RunDirectory,
    space: SearchSpace,
    store: ClipStore,
    options: Options,
    resources: Resources,
    machine: dict[str, Any],
    trials: int,
) -> Resources:
    """What each trial gets, after the disk can hold what they may write."""
    sizes = measure_sizes([config.to_dict() for config in largest_models(space, options.seed)], store)
    if machine["concurrent"] == "auto":
        resources = packed(resources, space, store, options.seed)
    bound = disk_bound(
        space,
        [size for size in sizes if size is not None],
        store.val.ids,
        concurrent=resources.concurrent,
        trials=trials,
        keep=options.keep_checkpoints,
        replicates=options.replicates * MOST_FINALISTS,
    )
    check_disk(run.path, bound, machine["disk_limit"])
    return resources


def _search(
    run: RunDirectory,
    manifest: dict[str, Any],
    steering: Steering,
    store: ClipStore,
    resources: Resources,
    wandb_mode: Mode,
    *,
    resume: bool = False,
) -> int:
    """Runs the search to its end or until it is told to stop, and says what came of it."""
    started, over = time.perf_counter(), steering.over
    interrupted, failure, best = False, None, None
    with contextlib.ExitStack() as followers:
        try:
            _say_beginning(run, manifest, steering, store, resources, resume=resume)
            if wandb_mode != "off":
                tracker = WandbTracker(wandb_mode, run.path, run.path.name, resume=resume)
                steering.listeners.append(followers.enter_context(tracker))
            with LiveTable(steering.records, steering.space) as table:
                steering.listeners.append(table)
                interrupted = not run_trials(run, store, steering, resources)
        except KeyboardInterrupt:
            interrupted = True
        except Exception as error:  # whatever it is, there are trials to show
            failure = error
        known = (OSError, UserError) if failure else ()  # what has ended the search may stand in the way here too
        with contextlib.suppress(*known):
            steering.close(time.perf_counter() - started, ended=not (interrupted or failure))
        with contextlib.suppress(*known):
            best = _sum_up(run, manifest, steering, None if failure else resources)
    if interrupted or failure:
        console.last_words(f"Not finished. To go on: {shell_command('salt_tune.search', '--resume', run.path)}")
    elif console.deserted:
        console.last_words(f"All of it: {run.path}")
    elif not (over or steering.searcher.left(1)):
        words = _all_tried(steering, manifest)
        console.print(f"{words[:1].upper()}{words[1:]}.")
    if failure:
        raise failure
    return INTERRUPTED if interrupted or console.deserted else 0 if best else 1


def _sum_up(run: RunDirectory, manifest: dict[str, Any], steering: Steering, resources: Resources | None) -> str | None:
    """Writes summary.json and prints it, but for a search that failed; returns the winner."""
    summary = write_summary(
        run,
        steering.space,
        list(steering.records.values()),
        store=manifest["store"],
        references=References(**manifest["references"]),
        seed=manifest["seed"],
        wall_seconds=steering.seconds,
    )
    if resources is not None:
        with contextlib.suppress(Deserted):  # `_search` says where all of it is
            console.print()
            print_summary(run, summary, concurrent=resources.concurrent)
    best: str | None = summary["best"]
    return best


def _say_beginning(
    run: RunDirectory,
    manifest: dict[str, Any],
    steering: Steering,
    store: ClipStore,
    resources: Resources,
    *,
    resume: bool,
) -> None:
    """Says how many trials there will be, and of what little use some of it may be."""
    asked = steering.scheduler.allowed
    if (trials := steering.limit()) < asked:
        console.print(f"trials = {asked}: {_what_is_left(trials - steering.begun, steering, manifest)}")
    begun = f" ({steering.begun} of them begun)" if resume else ""
    length = amount(steering.space.schedule.full, steering.space.schedule.resource)
    console.print(
        f"{run.path.name}: {counted(trials, 'trial')}{begun} of up to {length} on {store.path} "
        f"({len(store.train)} training clips), {resources.concurrent} at a time"
    )
    if warning := few_clips(min(len(store.val), steering.space.evaluation.clips)):
        console.print(warning)
    if steering.over:
        more = (
            "; --extend N starts N trials more" if steering.searcher.left(1) else f": {_all_tried(steering, manifest)}"
        )
        console.print(f"Nothing is left to do{more}.")


def _what_is_left(trials: int, steering: Steering, manifest: dict[str, Any]) -> str:
    """Why fewer trials will be started than were asked for."""
    if not trials:
        return _all_tried(steering, manifest)
    return f"only {counted(trials, 'configuration')} can still be tried, so {counted(trials, 'trial')} will be started"


def _all_tried(steering: Steering, manifest: dict[str, Any]) -> str:
    here = counted(steering.begun, "configuration")
    if manifest["warm_start"]:
        return f"all configurations have been tried, {here} here and the others in earlier runs"
    return f"all {here} have been tried"


if __name__ == "__main__":
    main()
