"""`python -m salt_tune.promote`: the winner of a search, trained for longer, and its encoder written."""

import contextlib
import os
import threading
from pathlib import Path
from typing import Any

import click

from analysis.run_directory.lines import read_lines
from analysis.run_directory.paths import FinalDirectory, RunDirectory, read_summary
from analysis.run_directory.reports import plain_report
from analysis.verdict import UNFIT
from salt_tune.callbacks.wandb_logger import MODES, Mode, WandbFollower, check_wandb
from salt_tune.options import RUN, Folder, detach_flag, flag, wandb_flag
from salt_tune.report.model_card import write_card
from salt_tune.runs.journal import Journal
from salt_tune.runs.lock import locked
from salt_tune.runs.prolong import go_on_from, trained_before
from salt_tune.runs.same_store import reopen_data
from salt_tune.space.search_space import SearchSpace
from salt_tune.space.space_file import reload_space
from salt_tune.ui.commands import Command
from salt_tune.ui.console import INTERRUPTED, Deserted, console
from salt_tune.ui.detached import Settled
from salt_tune.ui.format import duration, number, progress, shell_command
from salt_tune.ui.full_disk import RUN_AGAIN
from salt_tune.ui.signals import asked_to_stop
from trainable.errors import UserError
from trainable.metrics import computed, objectives
from trainable.registry import nearest
from trainable.task import Task
from trainable.worker import Dataset, FinalSpec

BUSY = "process {holder} trains this model; wait for it, or stop it"
REPORTS_PER_EPOCH = 4  # after a search whose trials were not counted in epochs


@click.command(cls=Command, example="python -m salt_tune.promote runs/first --epochs 100")
@click.argument("run_path", metavar="RUN", type=Folder())
@flag(
    RUN, "--epochs", type=click.IntRange(min=1), help="Epochs of the final run [default: the space's promotion.epochs]."
)
@flag(RUN, "--trial", help="Trial to promote [default: the winner].")
@flag(RUN, "--from-scratch", is_flag=True, help="Train anew a trial that could go on from where the search left it.")
@flag(RUN, "--anyway", is_flag=True, help="Promote a trial that is of no more use than an untrained encoder.")
@flag(RUN, "--store", "store_path", type=Folder(), help="Where the clip store lies now, if it was moved.")
@detach_flag("salt_tune.promote")
@wandb_flag(MODES)
def main(
    run_path: Path,
    epochs: int | None,
    trial: str | None,
    store_path: Path | None,
    wandb_mode: Mode,
    *,
    from_scratch: bool,
    anyway: bool,
    settled: Settled,
) -> int:
    """Train the winner of the search in RUN for longer.

    At a constant learning rate it goes on from where the search left it. A cosine begins from scratch, stretched over
    more epochs. Stopped at any moment, the same command goes on where it was. Writes the encoder, its configuration and
    a card.
    """
    run = RunDirectory(run_path)
    summary = read_summary(run)
    chosen = _choose(run, summary, trial, anyway=anyway)
    space = reload_space(run.space)
    task = space.task
    config = task.config({**chosen["config"], "epochs": epochs or space.promotion.epochs})
    data = reopen_data(run, task, summary["store"], store_path)
    trained = trained_before(run, task, chosen, config["epochs"]) if not from_scratch else 0.0
    anew = from_scratch and task.prolongs(config)
    final, length = run.final(chosen["id"], config["epochs"], from_scratch=anew), f"{config['epochs']:g}"
    spec = FinalSpec(
        config=config,
        evaluation=space.evaluation,
        reports_per_epoch=_reports_per_epoch(space),
        folder=final.path,
        threads=len(os.sched_getaffinity(0)),
        provenance={"run": run.path.name, "trial": chosen["id"], "store": str(data.path), "begun_at_epoch": trained},
        baselines=run.baselines,
    )
    if _is_finished(final):
        return 0
    check_wandb(wandb_mode)
    final.path.mkdir(parents=True, exist_ok=True)
    moved = ("--store", str(data.path.absolute())) if store_path else ()
    logged = ("--wandb", wandb_mode) if wandb_mode != "off" else ()
    forced = tuple(name for name, is_given in (("--from-scratch", from_scratch), ("--anyway", anyway)) if is_given)
    goes_on = ("--trial", chosen["id"], "--epochs", length, *forced, *moved, *logged)
    with locked(final.lock, BUSY, goes_on=goes_on):
        if _is_finished(final):  # by the process that held the lock before
            return 0
        last = None
        with contextlib.suppress(KeyboardInterrupt):  # a second Ctrl-C, or before the training has begun
            console.print(_what_is_trained(run, chosen, config["epochs"], trained, data))
            settled(final.path, final.log)
            before = go_on_from(run, chosen["id"], final) if trained else []
            last = _train(final, task, spec, data, wandb_mode, before)
        if last is None:
            command = shell_command("salt_tune.promote", run.path, *goes_on)
            console.last_words(f"Interrupted; the same command goes on from here: {command}")
            return INTERRUPTED
        card = write_card(task, spec, chosen, last, data, summary["baselines"])
    columns = computed(among=task.metrics)
    measures = ", ".join(f"{name} {number(last.get(name))}" for name in objectives(task.metrics) if name in columns)
    searched = f"val_loss {number(chosen['val_loss'])} after {chosen['epochs']:g}"
    console.print(f"Done: {measures} after {length} epochs; in the search {searched}")
    console.print(f"{final.path}: {card.files}, README.md (model card), reports.jsonl")
    if card.how:
        console.print(f"Use it: {card.how}")
    return 0


def _what_is_trained(run: RunDirectory, trial: dict[str, Any], epochs: float, trained: float, data: Dataset) -> str:
    """Says what will be trained, from where, and for how long by the trial's own speed."""
    begins = f"from epoch {trained:g}, where the search left it" if trained else "from scratch"
    name = f"{trial['id']} of {run.path.name}"
    speed = trial["training_seconds"] / trial["epochs"] if trial["epochs"] else None
    lasts = f"; about {duration(speed * (epochs - trained))} of training" if speed else ""
    return f"{name}: {epochs:g} epochs on {data.path}, {begins}{lasts}"


def _is_finished(final: FinalDirectory) -> bool:
    if final.card.exists():
        console.print(f"{final.path}: this run is finished; nothing to do")
    return final.card.exists()


def _choose(run: RunDirectory, summary: dict[str, Any], trial: str | None, *, anyway: bool) -> dict[str, Any]:
    """Returns the trial to promote.

    Raises:
        UserError: there is none, or it is of no use by its verdict and `anyway` is not given.
    """
    trials: dict[str, dict[str, Any]] = {entry["id"]: entry for entry in summary["trials"]}
    if trial is None and summary["recommended"] is None:
        raise UserError(f"{run.path}: no trial finished, so there is no winner; name one with --trial")
    chosen = trial or summary["recommended"]
    if chosen not in trials:
        raise UserError(f"--trial = {chosen!r}: {run.path.name} has no such trial; {nearest(chosen, tuple(trials))}")
    if anyway:
        return trials[chosen]
    if trial is None and summary["nothing_to_promote"]:
        raise UserError(
            f"{run.path}: no complete trial that was judged is of more use than an untrained encoder; "
            "--anyway promotes the best of them"
        )
    if (verdict := trials[chosen]["verdict"]) in UNFIT:
        raise UserError(f"{run.path}: {chosen} is {verdict}; name another with --trial, or promote it with --anyway")
    return trials[chosen]


def _train(
    final: FinalDirectory,
    task: Task,
    spec: FinalSpec,
    data: Dataset,
    wandb_mode: Mode,
    before: list[dict[str, Any]],
) -> dict[str, Any] | None:
    """Trains to the end and writes the model; returns the last report, or None where it was interrupted.

    Args:
        final: where the results go.
        task: what is trained.
        spec: how.
        data: on what.
        wandb_mode: of W&B.
        before: reports of the search, which W&B has not heard in this run.
    """
    training, stop = task.open_final(spec, data), threading.Event()
    logged, reports = _logged_epochs(final), Journal(final.reports, RUN_AGAIN)
    trial, group = spec.provenance["trial"], spec.provenance["run"]
    followed = WandbFollower(wandb_mode, final.path, group, final.path.name, spec.config)
    for report in before:
        followed.log(report)
    shown = [name for name in ("val_loss", "val_r2", "probe_top1") if name in task.metrics]

    def on_report(report: dict[str, Any]) -> None:
        if report["epoch"] in logged:  # the process died between this line and its checkpoint
            return
        reports.append(plain_report(trial, report))
        followed.log(report)
        try:
            measured = [name for name in shown if report.get(name) is not None]
            console.print(f"epoch {report['epoch']:6.2f}  {progress(report, measured)}")
        except Deserted:  # the step ends and is saved, as after Ctrl-C
            stop.set()

    with asked_to_stop(stop.set, stop.is_set):
        last = training.train(on_report, stop)
    followed.finish(0 if last else 1)
    training.close()
    return last


def _reports_per_epoch(space: SearchSpace) -> int:
    """Returns as many as in the search, where that counted in epochs."""
    schedule = space.schedule
    return max(1, round(schedule.reports / schedule.epochs)) if schedule.epochs else REPORTS_PER_EPOCH


def _logged_epochs(final: FinalDirectory) -> set[float]:
    """Returns the epochs that stand in reports.jsonl; a line cut off when the process died is taken out."""
    return {report["epoch"] for report in read_lines(final.reports)}


if __name__ == "__main__":
    main()
