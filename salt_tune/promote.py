"""`python -m salt_tune.promote`: the winner of a search, trained for longer, and its encoder written."""

import contextlib
import json
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
from salt_tune.options import MACHINE, RUN, Finite, Folder, flag, wandb_flag
from salt_tune.ray_backend.final_workers import SharedFinal, check_workers
from salt_tune.report.final_table import print_final_table
from salt_tune.report.model_card import write_card
from salt_tune.report.prediction import Prediction, predict_loss
from salt_tune.report.verdict import certainty
from salt_tune.runs.journal import Journal
from salt_tune.runs.lock import locked
from salt_tune.runs.prolong import Trunk, go_on_from, longest_final, longest_trunk
from salt_tune.runs.same_store import reopen_data
from salt_tune.space.search_space import SearchSpace
from salt_tune.space.space_file import reload_space
from salt_tune.ui.commands import Command
from salt_tune.ui.console import INTERRUPTED, Deserted, console
from salt_tune.ui.format import duration, exact, number, progress, shell_command
from salt_tune.ui.full_disk import RUN_AGAIN
from salt_tune.ui.signals import asked_to_stop
from trainable.errors import UserError
from trainable.files import write_json
from trainable.metrics import computed, objectives
from trainable.registry import nearest
from trainable.task import Task
from trainable.worker import Beside, Dataset, FinalRun, FinalSpec, FinalTable

BUSY = "process {holder} trains this model; wait for it, or stop it"
CHECKPOINT_MINUTES = 10.0
REPORTS_PER_EPOCH = 4  # after a search whose trials were not counted in epochs


@click.command(cls=Command, example="python -m salt_tune.promote runs/first --epochs 100")
@click.argument("run_path", metavar="RUN", type=Folder())
@flag(
    RUN, "--epochs", type=click.IntRange(min=1), help="Epochs of the final run [default: the space's promotion.epochs]."
)
@flag(RUN, "--more", type=click.IntRange(min=1), help="Epochs more than the longest final run of the trial has.")
@flag(RUN, "--trial", help="Trial to promote [default: the winner].")
@flag(RUN, "--from-scratch", is_flag=True, help="Train anew a trial that could go on from where the search left it.")
@flag(RUN, "--anyway", is_flag=True, help="Promote a trial that is of no more use than an untrained encoder.")
@flag(RUN, "--against", type=Folder(), help="Folder of another promoted model, with which this one is compared.")
@flag(RUN, "--store", "store_path", type=Folder(), help="Where the clip store lies now, if it was moved.")
@flag(
    RUN,
    "--checkpoint-minutes",
    type=Finite(min=0),
    default=CHECKPOINT_MINUTES,
    show_default=True,
    help="Between two checkpoints at most; there is one after each report too.",
)
@flag(
    MACHINE, "--workers", type=click.IntRange(min=1), default=1, show_default=True,
    help="Processes that share the training, a GPU or a core each.",
)  # fmt: skip
@wandb_flag(MODES)
def main(
    run_path: Path,
    epochs: int | None,
    more: int | None,
    trial: str | None,
    against: Path | None,
    store_path: Path | None,
    checkpoint_minutes: float,
    workers: int,
    wandb_mode: Mode,
    *,
    from_scratch: bool,
    anyway: bool,
) -> int:
    """Train the winner of the search in RUN for longer.

    Under the schedule wsd it goes on from where the search left it, and cools down at the end; --more prolongs it from
    before the cooldown. A cosine begins from scratch, stretched over more epochs. Stopped at any moment, the same
    command goes on where it was, also with other --workers. Writes the encoder, its configuration and a card, and says
    how good the encoder is.
    """
    run = RunDirectory(run_path)
    summary = read_summary(run)
    chosen = _choose(run, summary, trial, anyway=anyway)
    space = reload_space(run.space)
    task = space.task
    if more is not None:
        if epochs is not None or from_scratch:
            raise UserError("--more prolongs a final run by so many epochs; give neither --epochs nor --from-scratch")
        epochs = round(longest_final(run, chosen["id"]) + more)
    config = task.config({**chosen["config"], "epochs": epochs or space.promotion.epochs})
    check_workers(task, config, workers)
    data = reopen_data(run, task, summary["store"], store_path)
    anew = from_scratch and task.trunk_epochs(config) > 0
    final = run.final(chosen["id"], config["epochs"], from_scratch=anew)
    if against is not None:
        task.check_against(against, data)
    if _is_finished(final, against):
        return 0
    trunk = None if from_scratch else longest_trunk(run, task, chosen, config)
    spec = FinalSpec(
        config=config,
        evaluation=space.evaluation,
        reports_per_epoch=_reports_per_epoch(space),
        folder=final.path,
        threads=len(os.sched_getaffinity(0)),
        provenance={
            "run": run.path.name,
            "trial": chosen["id"],
            "store": data.path.resolve().name,
            "begun_at_epoch": trunk.epoch if trunk else 0.0,
        },
        baselines=run.baselines,
        checkpoint_minutes=checkpoint_minutes,
    )
    check_wandb(wandb_mode)
    final.path.mkdir(parents=True, exist_ok=True)
    with locked(final.lock, BUSY):
        if _is_finished(final, against):  # by the process that held the lock before
            return 0
        predicted = predict_loss(run, space, chosen["id"], config["epochs"]) if trunk else None
        last, evaluation, is_evaluated = None, None, False
        with contextlib.suppress(KeyboardInterrupt):  # a second Ctrl-C, or before the training has begun
            _say_what_is_trained(run, summary, chosen, config["epochs"], trunk, data, predicted, workers)
            before = go_on_from(run, chosen["id"], trunk, final) if trunk else []
            training = SharedFinal(task, spec, data, workers) if workers > 1 else task.open_final(spec, data)
            last = _train(final, task, spec, training, wandb_mode, before)
            if last is not None:
                evaluation = _evaluate(run, final, task, spec, chosen, against, last, data)
                is_evaluated = True
        if last is None or not is_evaluated:
            moved = ("--store", data.path) if store_path else ()
            logged = ("--wandb", wandb_mode) if wandb_mode != "off" else ()
            which = ("--trial", chosen["id"], "--epochs", f"{config['epochs']:g}")
            forced = tuple(
                name for name, is_given in (("--from-scratch", from_scratch), ("--anyway", anyway)) if is_given
            )
            several = ("--workers", workers) if workers > 1 else ()
            compared = ("--against", against) if against else ()
            others = (*which, *forced, *several, *compared, *moved, *logged)
            command = shell_command("salt_tune.promote", run.path, *others)
            console.last_words(f"Interrupted; the same command goes on from here: {command}")
            return INTERRUPTED
        card = write_card(task, spec, chosen, last, data, summary["baselines"], evaluation)
    if evaluation is not None:
        print_final_table(evaluation, task.metrics)
    columns = computed(among=task.metrics)
    measures = ", ".join(f"{name} {number(last.get(name))}" for name in objectives(task.metrics) if name in columns)
    searched = f"val_loss {number(chosen['val_loss'])} after {chosen['epochs']:g}"
    console.print(f"Done: {measures} after {config['epochs']:g} epochs; in the search {searched}")
    if predicted is not None:
        within = "within" if predicted.low <= last["val_loss"] <= predicted.high else "outside"
        console.print(f"val_loss {exact(last['val_loss'])} is {within} what the search predicted: {predicted}")
    console.print(f"{final.path}: {card.files}, README.md (model card), reports.jsonl")
    if card.how:
        console.print(f"Use it: {card.how}")
    return 0


def _say_what_is_trained(
    run: RunDirectory,
    summary: dict[str, Any],
    trial: dict[str, Any],
    epochs: float,
    trunk: Trunk | None,
    data: Dataset,
    predicted: Prediction | None,
    workers: int,
) -> None:
    """Says what will be trained, from where, for how long by the trial's own speed, and how sure the search was."""
    begins = f"from epoch {trunk.epoch:g}, {trunk.origin}" if trunk else "from scratch"
    speed = trial["training_seconds"] / trial["epochs"] if trial["epochs"] else None
    lasts = f"; about {duration(speed * (epochs - (trunk.epoch if trunk else 0)))} of training" if speed else ""
    shared = f", shared by {workers} workers" if workers > 1 else ""
    console.print(f"{trial['id']} of {run.path.name}: {epochs:g} epochs on {data.path}, {begins}{lasts}{shared}")
    for line in certainty(summary, trial):
        console.print(f"  {line}")
    if predicted is not None:
        console.print(
            f"  val_loss {exact(trial['val_loss'])} at {trial['epochs']:g}, by the curves {predicted} at the end"
        )


def _is_finished(final: FinalDirectory, against: Path | None) -> bool:
    """Says whether there is nothing left to do: the card is written, and another model compared where one is given."""
    finished = final.card.exists()
    if finished and against is not None:
        finished = False
        with contextlib.suppress(OSError, ValueError):  # not there, or damaged: it is measured then
            finished = json.loads(final.evaluation.read_bytes()).get("against") == str(against.absolute())
    if finished:
        console.print(f"{final.path}: this run is finished; nothing to do")
    return finished


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
    training: FinalRun,
    wandb_mode: Mode,
    before: list[dict[str, Any]],
) -> dict[str, Any] | None:
    """Trains to the end and writes the model; returns the last report, or None where it was interrupted.

    Args:
        final: where the results go.
        task: what is trained.
        spec: how.
        training: the run, built.
        wandb_mode: of W&B.
        before: reports of the search, which W&B has not heard in this run.
    """
    stop = threading.Event()
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
        last = training.train(on_report, stop, lambda line: console.print(f"warning: {line}"))
    followed.finish(0 if last else 1)
    training.close()
    return None if stop.is_set() else last


def _evaluate(
    run: RunDirectory,
    final: FinalDirectory,
    task: Task,
    spec: FinalSpec,
    trial: dict[str, Any],
    against: Path | None,
    last: dict[str, Any],
    data: Dataset,
) -> FinalTable | None:
    """Measures how good the model is, and writes it; None where its task does not measure that."""
    answers = run.answers(trial["id"], trial["resource"])
    beside = Beside(trial, run.checkpoint(trial["id"]), answers, against.absolute() if against else None)
    evaluation = task.evaluate_final(spec, beside, last, data, console.print)
    if evaluation is not None:
        write_json(final.evaluation, evaluation)
    return evaluation


def _reports_per_epoch(space: SearchSpace) -> int:
    """Returns as many as in the search, where that counted in epochs."""
    schedule = space.schedule
    return max(1, round(schedule.reports / schedule.epochs)) if schedule.epochs else REPORTS_PER_EPOCH


def _logged_epochs(final: FinalDirectory) -> set[float]:
    """Returns the epochs that stand in reports.jsonl; a line cut off when the process died is taken out."""
    return {report["epoch"] for report in read_lines(final.reports)}


if __name__ == "__main__":
    main()
