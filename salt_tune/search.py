"""`python -m salt_tune.search`: many short trials, the promising ones trained on, ranked on held-out clips.

From Python, `salt_tune.search(...)` runs the same; see `salt_tune.api.search`.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import click

from analysis.run_directory.events import Request
from analysis.run_directory.paths import RunDirectory
from salt_tune.callbacks.base import MODES
from salt_tune.options import (
    CLUSTER,
    LOGGING,
    MACHINE,
    RUN,
    CountOrAuto,
    Finite,
    Folder,
    address_flag,
    detach_flag,
    flag,
    heartbeat_flag,
    parse_settings,
    seed_flag,
    wandb_flag,
)
from salt_tune.ui.commands import Choice, Command
from salt_tune.ui.console import INTERRUPTED, console
from salt_tune.ui.detached import Settled

# What runs a search takes a second to load, which --help does without: it is imported where it is used.
if TYPE_CHECKING:
    from salt_tune.controller.following import Output
    from salt_tune.run_search import Machine, Outcome

SEARCH: Final = "What is searched"

FIXED_BY_THE_RUN: Final = ("space_name", "trials", "epochs", "name", "seed", "seeds", "oom_retries",
                           "keep_checkpoints", "settings", "warm_start")  # fmt: skip

EXAMPLE: Final = """\
python -m salt_tune.search --space vit_base --store /nvme/ssv2 --trials 64
python -m salt_tune.search --resume runs/vit_base-20260101-120000 --extend 16"""


@click.command(cls=Command, example=EXAMPLE)
@flag(
    SEARCH, "--space", "space_name", default="demo", show_default=True,
    help="Search-space file, or the name of a shipped one.",
)  # fmt: skip
@flag(
    SEARCH, "--store", type=Folder(),
    help="Clip store [default: stores/demo, made on first use]. With --resume: where it lies now, if it was moved.",
)  # fmt: skip
@flag(SEARCH, "--trials", type=click.IntRange(min=1), help="Number of trials [default: the space's].")
@flag(SEARCH, "--epochs", type=Finite(min=0, min_open=True), help="Epochs of a full trial [default: the space's].")
@flag(
    SEARCH, "--set", "settings", multiple=True, metavar="KEY=VALUE",
    help="Replace an entry of the space: batch_size=16, schedule.scheduler=asha, parameters.lr.low=1e-5.",
)  # fmt: skip
@flag(
    SEARCH, "--warm-start", type=Folder(), multiple=True, metavar="RUN",
    help="Let suggestions learn from an earlier run; can be given several times.",
)  # fmt: skip
@seed_flag(SEARCH, "Seed of suggestions, weights, masks and data order.", most=2**32 - 1)
@flag(
    SEARCH, "--seeds", type=Choice(["common", "vary"]), default="common", show_default=True,
    help="Whether all trials train with the same seed, so that they differ by their hyperparameters alone.",
)  # fmt: skip
@flag(
    SEARCH, "--replicates", type=CountOrAuto("seeds", 0),
    help="Train the three best again with N further seeds; or auto: those tied with the best, one seed a round, until "
    "none is tied or 15% of what was trained is spent [default: auto with --store, else 0]. With --resume: N more.",
)  # fmt: skip
@flag(RUN, "--name", help="Name of the run [default: from the space and the time].")
@flag(RUN, "--runs", type=Folder(), default=Path("runs"), show_default=True, help="Folder of the runs.")
@flag(RUN, "--resume", "run", type=Folder(), metavar="RUN", help="Go on with a run that was stopped or killed.")
@flag(RUN, "--extend", type=click.IntRange(min=1), metavar="N", help="With --resume: start N trials more.")
@flag(
    MACHINE, "--concurrent", type=CountOrAuto("trials", 1),
    help="Trials at a time, of a cluster on each node; or auto to measure what pays [default: one a GPU, or one a "
    "core, at most 4; with --resume: as before].",
)  # fmt: skip
@flag(
    MACHINE, "--gpus-per-trial", type=Finite(min=0),
    help="GPUs of a trial, fractions allowed [default: all GPUs shared evenly].",
)  # fmt: skip
@flag(
    MACHINE, "--oom-retries", type=click.IntRange(min=0), default=0, show_default=True,
    help="How often a trial that ran out of memory is tried again.",
)  # fmt: skip
@flag(
    MACHINE, "--keep-checkpoints", type=click.IntRange(min=1), metavar="N",
    help="With freeze_thaw: paused trials that may keep a checkpoint [default: all].",
)  # fmt: skip
@flag(
    MACHINE, "--disk-limit", type=Finite(min=0, min_open=True), metavar="GB",
    help="Refuse to start where more may be needed.",
)  # fmt: skip
@flag(
    MACHINE, "--time-limit", metavar="TIME",
    help="End the search after a time, such as 8h or 90min; --resume goes on.",
)  # fmt: skip
@flag(
    MACHINE, "--budget", metavar="AMOUNT",
    help="End the search when all trials together have trained so much: 40epochs, 200tflop, 12h; --resume goes on.",
)  # fmt: skip
@heartbeat_flag("Kill a worker without a sign of life for so long; its trial goes on in another.")
@address_flag
@flag(
    CLUSTER, "--store-copy", type=Folder(), metavar="PATH",
    help="Copy the store to this folder on each node's own disk first, where the shared one is slow.",
)  # fmt: skip
@detach_flag("salt_tune.search")
@wandb_flag(MODES)
@flag(LOGGING, "--tensorboard", is_flag=True, default=None, help="Write TensorBoard's event files to RUN/tensorboard.")
@flag(LOGGING, "--mlflow", is_flag=True, default=None, help="Log to MLFLOW_TRACKING_URI, or to RUN/mlflow.db.")
@flag(LOGGING, "--trackio", is_flag=True, default=None, help="Log to Trackio.")
@flag(
    LOGGING, "--notify", metavar="CMD",
    help="Run a shell command at the end, at a failure and at a new best: SALT_TUNE_EVENT, _TEXT and more say what, "
    "and JSON on its standard input. With --resume, it is given anew.",
)  # fmt: skip
@flag(LOGGING, "--quiet", is_flag=True, help="Print warnings only.")
@flag(LOGGING, "--json-lines", is_flag=True, help="Print what happens as JSON, one object a line, and nothing else.")
@flag(
    LOGGING, "--git/--no-git", default=True, show_default=True,
    help="Keep the commit and the changes of the working folder in the run, 1 MiB at most.",
)  # fmt: skip
@click.pass_context
def main(context: click.Context, /, run: Path | None, extend: int | None, **flags: Any) -> int:
    """Search for the hyperparameters with the best objective on a clip store."""
    from salt_tune.controller.following import Following
    from salt_tune.run_search import Machine, resume

    if _output(flags) != "screen":
        console.hush()
    machine = Machine(
        concurrent=flags["concurrent"],
        gpus_per_trial=flags["gpus_per_trial"],
        disk_limit_gb=flags["disk_limit"],
        following=Following(
            flags["wandb_mode"],
            flags["tensorboard"],
            flags["mlflow"],
            flags["trackio"],
            flags["notify"],
            _output(flags),
        ),
        git=flags["git"],
        time_limit=flags["time_limit"],
        budget=flags["budget"],
        heartbeat=flags["heartbeat"],
        address=flags["address"],
        store_copy=flags["store_copy"],
    )
    if run is None:
        if extend:
            raise click.UsageError("--extend: needs --resume RUN")
        return _exit_code(_begin(machine, **flags))
    replicates = flags["replicates"] or 0
    for name in FIXED_BY_THE_RUN:
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            given = {"space_name": "--space", "settings": "--set"}.get(name, f"--{name.replace('_', '-')}")
            raise click.UsageError(f"{given}: is settled by the run that --resume names; leave it out")
    store = flags["store"]
    return _exit_code(
        resume(
            RunDirectory(run),
            extend=extend or 0,
            replicates=replicates,
            store=store,
            machine=machine,
            settled=flags["settled"],
        )
    )


def _begin(
    machine: "Machine",
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
    replicates: Request | None,
    oom_retries: int,
    keep_checkpoints: int | None,
    settings: tuple[str, ...],
    settled: Settled,
    **_of_the_machine: Any,
) -> "Outcome":
    from salt_tune.controller.settings import Settings, default_replicates
    from salt_tune.run_search import begin

    replicates = default_replicates(store) if replicates is None else replicates
    given = {name: value for name, value in {"trials": trials, "schedule.epochs": epochs}.items() if value}
    return begin(
        space_name,
        {**parse_settings(settings), **given},
        store=store,
        runs=runs,
        name=name,
        warm_start=warm_start,
        how=Settings(seed, seeds == "vary", replicates, oom_retries, keep_checkpoints),
        machine=machine,
        settled=settled,
    )


def _output(flags: dict[str, Any]) -> "Output":
    if flags["quiet"] and flags["json_lines"]:
        raise click.UsageError("--quiet: prints nothing, and --json-lines prints; give one of them")
    return "quiet" if flags["quiet"] else "json_lines" if flags["json_lines"] else "screen"


def _exit_code(outcome: "Outcome") -> int:
    if outcome.interrupted or console.deserted:
        return INTERRUPTED
    return 0 if outcome.best else 1


class _Callable(ModuleType):
    """The class of this module, so that `salt_tune.search` is the command's module and the function in one.

    Python binds a submodule to its name in the package whenever it is imported, in whatever order. A function of that
    name in the package would last until the first `import salt_tune.search`; a module that can be called stays.
    """

    def __call__(self, *arguments: Any, **settings: Any) -> RunDirectory:
        return self.__wrapped__(*arguments, **settings)

    @property
    def __wrapped__(self) -> Callable[..., RunDirectory]:
        """The function, whose signature and parameters are shown."""
        from salt_tune import api

        return api.search


sys.modules[__name__].__class__ = _Callable

if __name__ == "__main__":
    main()
