"""Runs a search, from what was asked for to the summary: what the command and `salt_tune.search` share."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from analysis.run_directory.events import Request
from analysis.run_directory.paths import RunDirectory
from salt_tune.callbacks.base import Callback
from salt_tune.controller.checkpoints import delete_checkpoints
from salt_tune.controller.controller import Controller
from salt_tune.controller.factory import make_callbacks, open_controller
from salt_tune.controller.following import Following
from salt_tune.controller.limits import Limits
from salt_tune.controller.replicates import most_replicates
from salt_tune.controller.settings import Settings
from salt_tune.ray_backend import session
from salt_tune.ray_backend.nodes import Nodes
from salt_tune.ray_backend.trial_loop import End, run_trials
from salt_tune.report.finalists import MOST_TIED
from salt_tune.report.held_out import few_clips
from salt_tune.report.leaderboard import print_summary
from salt_tune.report.summary import write_summary
from salt_tune.resources.disk_budget import check_disk, disk_bound
from salt_tune.runs.create import claimed, created, new_run
from salt_tune.runs.lock import locked
from salt_tune.runs.provenance import provenance
from salt_tune.runs.reopen import remember, reopen
from salt_tune.runs.warm_start import comparable_runs, warm_trials
from salt_tune.space.feasibility import check_data, check_models, largest_models
from salt_tune.space.search_space import SearchSpace
from salt_tune.space.space_file import find_space, load_space
from salt_tune.stores.demo import find_store
from salt_tune.ui.console import Deserted, console
from salt_tune.ui.detached import Settled, stay
from salt_tune.ui.format import amount, counted, resume_command
from salt_tune.ui.full_disk import RESUME, comes_from_full_disk, full_disk_line
from trainable.errors import UserError
from trainable.heartbeat import SILENT_SECONDS
from trainable.worker import Dataset


@dataclass(frozen=True)
class Machine:
    """What a search may take of this machine or of a cluster, and where it logs to.

    Attributes:
        concurrent: trials at a time, on each node of a cluster; "auto": measured before the search; None: one a GPU,
            or one a core, at most 4.
        gpus_per_trial: fractions allowed; None: all GPUs shared evenly.
        disk_limit_gb: a search that may need more is refused; None: as much as is free.
        following: what follows the search.
        git: whether to keep the commit and the changes of the working folder.
        time_limit: where the search ends early; see `Limits.parse`, as `budget`.
        budget: another limit.
        heartbeat: seconds that a worker may give no sign of life.
        address: of a Ray cluster, HOST:PORT or "auto"; None: the search runs on this machine.
        store_copy: folder on each node's own disk that the store is copied to; None: all read the same.
    """

    concurrent: int | Literal["auto"] | None = None
    gpus_per_trial: float | None = None
    disk_limit_gb: float | None = None
    following: Following = field(default_factory=Following)
    git: bool = True
    time_limit: str | None = None
    budget: str | None = None
    heartbeat: float = SILENT_SECONDS
    address: str | None = None
    store_copy: Path | None = None

    @property
    def limits(self) -> Limits:
        """Where the search ends early.

        Raises:
            UserError: one of the two is no amount.
        """
        return Limits.parse(self.time_limit, self.budget)

    @property
    def session(self) -> dict[str, Any]:
        """What run.json says of the process that ran it last."""
        return {**self.following.remembered(), "limits": asdict(self.limits), "concurrent": self.concurrent}


@dataclass(frozen=True)
class Outcome:
    """What came of a search.

    Attributes:
        run: its directory.
        best: id of the winner; None where no trial finished.
        interrupted: whether it was told to stop before its end.
    """

    run: RunDirectory
    best: str | None
    interrupted: bool


def begin(
    space_name: str,
    settings: Mapping[str, Any],
    *,
    store: Path | None,
    runs: Path,
    name: str | None,
    warm_start: tuple[Path, ...],
    how: Settings,
    machine: Machine,
    settled: Settled = stay,
) -> Outcome:
    """Begins a search and runs it to its end, or until it is told to stop.

    Args:
        space_name: a search-space file, or the name of a shipped one.
        settings: entries of the space to replace, by their dotted names.
        store: the clip store; None: the embedded default, which is prepared where it is not there yet.
        runs: folder of the runs.
        name: of the run; None: from the space and the time.
        warm_start: earlier runs that suggestions learn from.
        how: the search is run.
        machine: what it may take.
        settled: called when the run is this process's, and all that was asked for can be.

    Raises:
        UserError: something that is asked for cannot be, or a disk is full; see `resume`.
        RunError: an earlier run cannot be read.
    """
    space = load_space(space_name, settings)
    task = space.task
    session.check_packing(task, machine.concurrent)
    machine.limits.check(task)
    run = new_run(runs, name, space)
    comparable_runs(warm_start, space)
    place = session.choose_place(machine.address, machine.concurrent, machine.gpus_per_trial, machine.store_copy)
    machine.following.check()
    with contextlib.ExitStack() as starting:
        starting.enter_context(claimed(run))
        data = task.open_data(find_store(store))
        check_data(find_space(space_name), space, data)
        with console.status(f"reading {task.judged_clips(space.evaluation, data):,} held-out clips"):
            baselines = task.baselines(space.evaluation, data)
        earlier = warm_trials(warm_start, space, data)
        with place.session(run.path.parent, task, data) as nodes:
            check_models(find_space(space_name), space, partial(session.first_unbuildable, nodes, task))
            machine = _settle(run, space, data, how, [how.replicates], nodes, machine, space.trials)
            here = provenance(run, git=machine.git)
            asked = {**asdict(how), "session": machine.session, **here.fields}
            with created(run, space, data, asked, baselines, earlier, nodes.facts(), here.diff) as manifest:
                starting.close()
                controller = open_controller(run, manifest, space)
                return _search(run, manifest, controller, data, nodes, machine, settled)


def resume(
    run: RunDirectory,
    *,
    extend: int,
    replicates: Request = 0,
    store: Path | None,
    machine: Machine,
    settled: Settled = stay,
) -> Outcome:
    """Goes on with a search that was stopped or killed, to its end or until it is told to stop.

    Args:
        run: its directory.
        extend: how many trials to start beside those that were asked for.
        replicates: further seeds of the finalists, beside those that were asked for; see `Settings`.
        store: where the clip store lies now, if it was moved.
        machine: what the search may take.
        settled: see `begin`; not called where nothing is left to do.

    Raises:
        UserError: the run, its space or its store is not what it was, another process runs it, or a disk is full.
        RunError: the run directory cannot be read.
    """
    manifest, space, data = reopen(run, store)
    session_before = manifest.get("session") or {}
    concurrent = machine.concurrent or session_before.get("concurrent")
    machine = replace(machine, concurrent=concurrent, following=machine.following.after(session_before))
    session.check_packing(space.task, concurrent)
    machine.limits.check(space.task)
    place = session.choose_place(machine.address, concurrent, machine.gpus_per_trial, machine.store_copy)
    if session_before.get("notify") and not machine.following.notify:
        console.warn("--notify was given before, and is not taken from the run, which may be another's; give it again")
    machine.following.check()
    with locked(run.lock):
        manifest = {**manifest, "store": data.facts()}
        controller = open_controller(run, manifest, space)
        with place.session(run.path, space.task, data) as nodes:
            trials = controller.scheduler.allowed + extend
            requests = [*controller.replicates.requests, replicates]
            machine = _settle(run, space, data, controller.settings, requests, nodes, machine, trials)
            manifest = remember(run, {**manifest, "session": machine.session})
            controller.ask_replicates(replicates)
            if extend and (more := controller.extend(extend)) < extend:
                console.print(f"--extend {extend}: {_what_is_left(more, controller, manifest)}")
            return _search(run, manifest, controller, data, nodes, machine, settled, resume=True)


def _settle(
    run: RunDirectory,
    space: SearchSpace,
    data: Dataset,
    how: Settings,
    requests: Sequence[Request],
    nodes: Nodes,
    machine: Machine,
    trials: int,
) -> Machine:
    """Settles what each trial gets, and that the disk can hold what they may write.

    Returns:
        The machine as a resumed search takes it: with what was measured, unless nodes differ in that.
    """
    sizes = session.measure_sizes(nodes, space.task, largest_models(space, how.seed), data)
    if machine.concurrent == "auto":
        session.pack(nodes, space, data, how.seed)
    bound = disk_bound(
        space,
        [size for size in sizes if size is not None],
        data.held_out,
        judged=space.task.judged_clips(space.evaluation, data),
        concurrent=nodes.concurrent,
        trials=trials,
        keep=how.keep_checkpoints,
        replicates=most_replicates(requests, trials),
        best=MOST_TIED,
    )
    check_disk(run.path, bound, machine.disk_limit_gb)
    measured = {node.resources.concurrent for node in nodes} if machine.concurrent == "auto" else set[int]()
    return replace(machine, concurrent=measured.pop()) if len(measured) == 1 else machine


def _search(
    run: RunDirectory,
    manifest: dict[str, Any],
    controller: Controller,
    data: Dataset,
    nodes: Nodes,
    machine: Machine,
    settled: Settled,
    *,
    resume: bool = False,
) -> Outcome:
    """Runs the search to its end or until it is told to stop, and says what came of it."""
    started, over = time.perf_counter(), controller.over
    end: End | None = None
    ended, best = False, None
    failure: Exception | None = None
    wanted = machine.following.callbacks(asdict(machine.limits))
    controller.callbacks += make_callbacks(run, controller.space, wanted)
    with contextlib.ExitStack() as leaving:
        try:
            _say_beginning(run, manifest, controller, data, nodes.concurrent, resume=resume)
            if not controller.over:
                settled(run.path, run.log)
            for callback in controller.callbacks:
                leaving.callback(lambda told: _say_end(told, controller, ended), callback)
            controller.begin()
            end = run_trials(run, controller, nodes, machine.limits, machine.heartbeat)
        except KeyboardInterrupt:
            end = "stopped"
        except Exception as error:  # whatever it is, there are trials to show
            failure = error
            if not isinstance(error, UserError) and comes_from_full_disk(error, run.path):
                failure = UserError(full_disk_line(run.path, RESUME))
                failure.__cause__ = error
        ended = end == "over"
        known = (OSError, UserError) if failure else ()  # what has ended the search may stand in the way here too
        with contextlib.suppress(*known):
            controller.close(time.perf_counter() - started, over=ended)
        with contextlib.suppress(*known):
            best = _sum_up(run, manifest, controller, None if failure else nodes.concurrent, over=ended)
    if not ended:
        console.last_words(f"Not finished. To go on: {resume_command(run.path)}")
    elif console.deserted:
        console.last_words(f"All of it: {run.path}")
    elif not (over or controller.searcher.left(1)):
        words = _all_tried(controller, manifest)
        console.print(f"{words[:1].upper()}{words[1:]}.")
    if failure:
        raise failure
    return Outcome(run, best, interrupted=end == "stopped")


def _sum_up(
    run: RunDirectory, manifest: dict[str, Any], controller: Controller, concurrent: int | None, *, over: bool
) -> str | None:
    """Writes summary.json and prints it, but for a search that failed; returns the winner."""
    summary = write_summary(
        run,
        controller.space,
        list(controller.trials.values()),
        store=manifest["store"],
        baselines=manifest["baselines"],
        seed=manifest["seed"],
        wall_seconds=controller.trials.seconds,
        over=over,
        rounds=controller.trials.rounds,
        requests=controller.replicates.requests,
    )
    if over and summary["tied"]:
        delete_checkpoints(run, controller.trials, best=summary["tied"])
    if concurrent is not None:
        with contextlib.suppress(Deserted):  # `_search` says where all of it is
            console.print()
            print_summary(run, summary, concurrent=concurrent)
    best: str | None = summary["best"]
    return best


def _say_end(callback: Callback, controller: Controller, over: bool) -> None:
    with contextlib.suppress(Deserted):  # `_search` says where all of it is
        callback.on_search_end(controller.trials, over=over)


def _say_beginning(
    run: RunDirectory,
    manifest: dict[str, Any],
    controller: Controller,
    data: Dataset,
    concurrent: int,
    *,
    resume: bool,
) -> None:
    """Says how many trials there will be, and of what little use some of it may be."""
    asked = controller.scheduler.allowed
    if (trials := controller.limit()) < asked:
        console.print(f"trials = {asked}: {_what_is_left(trials - controller.begun, controller, manifest)}")
    begun = f" ({controller.begun} of them begun)" if resume else ""
    length = amount(controller.space.schedule.full, controller.space.schedule.resource)
    console.print(
        f"{run.path.name}: {counted(trials, 'trial')}{begun} of up to {length} on {data.path} "
        f"({data.train_size} training clips), {concurrent} at a time"
    )
    if warning := few_clips(controller.space.task.judged_clips(controller.space.evaluation, data)):
        console.warn(warning)
    if controller.over:
        left = controller.searcher.left(1)
        more = "; --extend N starts N trials more" if left else f": {_all_tried(controller, manifest)}"
        console.print(f"Nothing is left to do{more}.")


def _what_is_left(trials: int, controller: Controller, manifest: dict[str, Any]) -> str:
    """Returns why fewer trials will be started than were asked for."""
    if not trials:
        return _all_tried(controller, manifest)
    return f"only {counted(trials, 'configuration')} can still be tried, so {counted(trials, 'trial')} will be started"


def _all_tried(controller: Controller, manifest: dict[str, Any]) -> str:
    here = counted(controller.begun, "configuration")
    if manifest["warm_start"]:
        return f"all configurations have been tried, {here} here and the others in earlier runs"
    return f"all {here} have been tried"
