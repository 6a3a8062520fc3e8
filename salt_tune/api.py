"""Searches from Python: what notebooks and tests use. The commands run the same, see `salt_tune.run_search`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from analysis.run_directory.events import Request
from analysis.run_directory.paths import RunDirectory
from salt_tune import run_search
from salt_tune.callbacks.base import Mode
from salt_tune.controller.following import Following
from salt_tune.controller.settings import Settings, default_replicates
from salt_tune.run_search import Machine, Outcome
from trainable.heartbeat import SILENT_SECONDS


def search(
    space: str | Path = "demo",
    *,
    store: str | Path | None = None,
    name: str | None = None,
    runs: str | Path = "runs",
    seed: int = 0,
    trials: int | None = None,
    epochs: float | None = None,
    settings: Mapping[str, Any] | None = None,
    warm_start: Sequence[str | Path] = (),
    vary_seeds: bool = False,
    replicates: Request | None = None,
    oom_retries: int = 0,
    keep_checkpoints: int | None = None,
    concurrent: int | Literal["auto"] | None = None,
    gpus_per_trial: float | None = None,
    disk_limit_gb: float | None = None,
    wandb: Mode | None = None,
    tensorboard: bool | None = None,
    mlflow: bool | None = None,
    trackio: bool | None = None,
    notify: str | None = None,
    git: bool = True,
    time_limit: str | None = None,
    budget: str | None = None,
    heartbeat: float = SILENT_SECONDS,
    address: str | None = None,
    store_copy: str | Path | None = None,
) -> RunDirectory:
    """Searches for the hyperparameters with the best objective on a clip store, in this process.

    Does what `python -m salt_tune.search` does, and prints the same; `analysis.load` reads what it returns. Ctrl-C
    and SIGTERM end it in order where it runs in the main thread.

    Args:
        space: a search-space file, or the name of a shipped one.
        store: folder of the clip store; None: the embedded default, which is prepared on first use.
        name: of the run; None: from the space and the time.
        runs: folder of the runs.
        seed: of suggestions, weights, masks and data order.
        trials: how many; None: the space's.
        epochs: of a full trial; None: the space's.
        settings: entries of the space to replace, by their dotted names: `{"schedule.scheduler": "asha"}`.
        warm_start: run directories of earlier searches that suggestions learn from.
        vary_seeds: each trial trains with a seed of its own.
        replicates: further seeds that the three best are trained with before a winner is named; "auto": those tied
            with the best get one seed a round, until none is tied or 15% of what was trained is spent; None: "auto"
            with `store`, else 0.
        oom_retries: how often a trial that ran out of memory is tried again.
        keep_checkpoints: paused trials that may keep a checkpoint, with freeze_thaw; None: all.
        concurrent: trials at a time, of a cluster on each node; "auto" measures what pays; None: one a GPU, or one a
            core, at most 4.
        gpus_per_trial: GPUs of a trial, fractions allowed; None: all GPUs shared evenly.
        disk_limit_gb: refuse to start where more may be needed, in 10^9 bytes.
        wandb: "offline" and "online" log to Weights & Biases.
        tensorboard: write TensorBoard's event files to RUN/tensorboard.
        mlflow: log to MLFLOW_TRACKING_URI, or to RUN/mlflow.db; needs the package mlflow.
        trackio: log to Trackio; needs the package trackio.
        notify: a shell command to run at the end, at a failure and at a new best; see `salt_tune.callbacks.notify`.
        git: keep the commit and the changes of the working folder in the run, 1 MiB at most.
        time_limit: such as "8h" or "90min": no trial goes on after that, and `resume` can go on.
        budget: such as "40epochs", "200tflop" or "12h" of training, of all trials together; as `time_limit`.
        heartbeat: seconds that a worker may give no sign of life before it is killed and its trial goes on in another.
        address: of a Ray cluster, "HOST:PORT" or "auto", on whose nodes trials are trained; None: on this machine.
        store_copy: folder on each node's own disk that the store is copied to first; None: all read the same.

    Returns:
        The run directory. Where no trial finished, its summary names no winner.

    Raises:
        UserError: something that is asked for cannot be, in one line; or a disk is full.
        RunError: a run of `warm_start` cannot be read.
        KeyboardInterrupt: the search was told to stop; `resume` goes on with it.
    """
    replicates = default_replicates(store) if replicates is None else replicates
    given = {key: value for key, value in {"trials": trials, "schedule.epochs": epochs}.items() if value is not None}
    return _finished(
        run_search.begin(
            str(space),
            {**(settings or {}), **given},
            store=None if store is None else Path(store),
            runs=Path(runs),
            name=name,
            warm_start=tuple(map(Path, warm_start)),
            how=Settings(seed, vary_seeds, replicates, oom_retries, keep_checkpoints),
            machine=Machine(
                concurrent,
                gpus_per_trial,
                disk_limit_gb,
                Following(wandb, tensorboard, mlflow, trackio, notify),
                git,
                time_limit,
                budget,
                heartbeat,
                address,
                None if store_copy is None else Path(store_copy),
            ),
        )
    )


def resume(
    run: str | Path | RunDirectory,
    *,
    extend: int = 0,
    replicates: Request = 0,
    store: str | Path | None = None,
    concurrent: int | Literal["auto"] | None = None,
    gpus_per_trial: float | None = None,
    disk_limit_gb: float | None = None,
    wandb: Mode | None = None,
    tensorboard: bool | None = None,
    mlflow: bool | None = None,
    trackio: bool | None = None,
    notify: str | None = None,
    time_limit: str | None = None,
    budget: str | None = None,
    heartbeat: float = SILENT_SECONDS,
    address: str | None = None,
    store_copy: str | Path | None = None,
) -> RunDirectory:
    """Goes on with a search that was stopped or killed, in this process.

    Args:
        run: its directory.
        extend: trials to start beside those that were asked for.
        replicates: further seeds of the three best beside those that were asked for, or "auto"; see `search`.
        store: where the clip store lies now, if it was moved.
        concurrent: trials at a time, of a cluster on each node; None: as before. See also `search`.
        gpus_per_trial: see `search`.
        disk_limit_gb: see `search`.
        wandb: see `search`; None: as before, as the next four.
        tensorboard: see `search`.
        mlflow: see `search`.
        trackio: see `search`.
        notify: see `search`; never taken from the run.
        time_limit: see `search`; counted from now.
        budget: see `search`; counted from the search's beginning.
        heartbeat: see `search`.
        address: see `search`.
        store_copy: see `search`.

    Returns:
        The run directory.

    Raises:
        UserError: the run, its space or its store is not what it was, another process runs it, or a disk is full.
        RunError: the run directory cannot be read.
        KeyboardInterrupt: the search was told to stop again.
    """
    return _finished(
        run_search.resume(
            run if isinstance(run, RunDirectory) else RunDirectory(run),
            extend=extend,
            replicates=replicates,
            store=None if store is None else Path(store),
            machine=Machine(
                concurrent,
                gpus_per_trial,
                disk_limit_gb,
                Following(wandb, tensorboard, mlflow, trackio, notify),
                True,
                time_limit,
                budget,
                heartbeat,
                address,
                None if store_copy is None else Path(store_copy),
            ),
        )
    )


def _finished(outcome: Outcome) -> RunDirectory:
    if outcome.interrupted:
        raise KeyboardInterrupt(f"{outcome.run.path}: not finished")
    return outcome.run
