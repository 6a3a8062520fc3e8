"""Runs a promotion: from what was asked for to the model, its card, and what is said of it."""

import contextlib
import json
import threading
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from analysis.run_directory.lines import read_lines
from analysis.run_directory.paths import RunDirectory, read_summary
from analysis.run_directory.reports import plain_report
from salt_tune.callbacks.base import Mode
from salt_tune.callbacks.wandb_logger import WandbFollower, check_wandb
from salt_tune.controller.final_race import race
from salt_tune.ray_backend.cluster_address import find_cluster
from salt_tune.ray_backend.final_workers import SharedFinal, check_workers
from salt_tune.report.final_table import print_final_table
from salt_tune.report.model_card import write_card
from salt_tune.report.prediction import Prediction, predict_loss
from salt_tune.report.promoted import beginning_lines, report_line, result_lines
from salt_tune.runs.final_plan import Planned, Row, plan_final
from salt_tune.runs.journal import Journal
from salt_tune.runs.lock import locked
from salt_tune.runs.prolong import go_on_from, longest_final
from salt_tune.runs.promotable import choose, finalists
from salt_tune.runs.promotion_record import error_kept, record_promotion
from salt_tune.runs.same_store import reopen_data
from salt_tune.space.space_file import reload_space
from salt_tune.ui.console import INTERRUPTED, Deserted, console
from salt_tune.ui.detached import Settled, stay
from salt_tune.ui.format import shell_command
from salt_tune.ui.full_disk import RUN_AGAIN
from salt_tune.ui.signals import asked_to_stop
from trainable.errors import UserError
from trainable.files import write_json
from trainable.heartbeat import SILENT_SECONDS
from trainable.worker import CHECKPOINT_MINUTES, Beside, FinalRun, FinalTable, Report

BUSY = "process {holder} trains this model; wait for it, or stop it"
CLOSE = 1e-9  # epochs that differ by less are the same


@dataclass(frozen=True)
class Asked:
    """What is asked of a promotion; `salt_tune.promote` says what each means."""

    epochs: int | None = None
    more: int | None = None
    trial: str | None = None
    top: int | None = None
    from_scratch: bool = False
    anyway: bool = False
    init: Path | None = None
    against: Path | None = None
    store: Path | None = None
    checkpoint_minutes: float = CHECKPOINT_MINUTES
    workers: int = 1
    address: str | None = None
    heartbeat: float = SILENT_SECONDS
    wandb: Mode = "off"


def promote(run_path: Path, asked: Asked, settled: Settled = stay) -> int:
    """Trains what is asked for to its end, or until it is told to stop; returns the exit code.

    Args:
        run_path: of the search.
        asked: what is wanted of it.
        settled: called when the final run is this process's, and all that was asked for can be.

    Raises:
        UserError: something that is asked for cannot be, or a disk is full.
    """
    promotion = Promotion(RunDirectory(run_path), asked)
    plans = promotion.plans()
    if len(plans) == 1 and promotion.is_finished(plans[0]):
        return 0
    check_wandb(asked.wandb)
    with ExitStack() as locks:
        for plan in plans:
            plan.final.path.mkdir(parents=True, exist_ok=True)
            locks.enter_context(locked(plan.final.lock, BUSY, goes_on=promotion.goes_on(plan)))
        return promotion.run(plans, settled)


class Promotion:
    """A promotion of one trial, or of the best of several.

    Args:
        run: of the search.
        asked: what is wanted of it.

    Raises:
        UserError: the search has not ended, or its store is not what it was.
    """

    def __init__(self, run: RunDirectory, asked: Asked) -> None:
        self._run, self._asked, self._summary = run, asked, read_summary(run)
        self._cluster = find_cluster(asked.address) if asked.address is not None else None
        self._space = reload_space(run.space)
        self._task = self._space.task
        self._data = reopen_data(run, self._task, self._summary["store"], asked.store)
        if asked.against is not None:
            self._task.check_against(asked.against, self._data)

    def plans(self) -> list[Planned]:
        """Returns the final runs that are asked for, the best trial's first: one, or several to choose from.

        Raises:
            UserError: there is no such trial, it is of no use, or it has been trained for longer already.
        """
        if self._asked.top is None:
            return [self._plan(choose(self._run, self._summary, self._asked.trial, anyway=self._asked.anyway))]
        plans = [self._plan(row) for row in finalists(self._run, self._summary, self._asked.top)]
        if self._space.schedule.resource != "epoch" or not all(self._trunk_epochs(plan) for plan in plans):
            raise UserError(
                f"--top = {self._asked.top}: finalists are compared on their trunks, epoch by epoch; that takes "
                "lr_schedule = wsd, and a search that counts in epochs"
            )
        return plans

    def is_finished(self, plan: Planned) -> bool:
        """Says whether nothing is left to do: the card is written, and the other model compared where one is given."""
        final, against = plan.final, self._asked.against
        finished = final.card.exists()
        if finished and against is not None:
            finished = False
            with contextlib.suppress(OSError, ValueError):  # not there, or damaged: it is measured then
                finished = json.loads(final.evaluation.read_bytes()).get("against") == str(against.absolute())
        if finished:
            console.print(f"{final.path}: this run is finished; nothing to do")
        return finished

    def run(self, plans: list[Planned], settled: Settled) -> int:
        """Trains the plan, or the best of several, and says how good the model is; returns the exit code."""
        with contextlib.suppress(KeyboardInterrupt):  # a second Ctrl-C, or before the training has begun
            if len(plans) > 1 or not plans[0].final.card.exists():
                settled(plans[0].final.path, plans[0].final.log)
            plan = plans[0] if len(plans) == 1 else self._race(plans)
            if plan is not None:
                # Also after a process that held the lock before, or a race that was over.
                return 0 if self.is_finished(plan) else self._run_one(plan)
        return self._interrupted(plans[0])

    def _run_one(self, plan: Planned) -> int:
        predicted = self._predicted(plan)
        shared = f", shared by {self._asked.workers} workers" if self._asked.workers > 1 else ""
        size = plan.trunk.checkpoint.stat().st_size if plan.trunk else None
        what = f"{plan.epochs:g} epochs on {self._data.path}"
        for line in beginning_lines(
            self._summary, plan.trial, what, plan.ahead, f"{plan.beginning}{shared}", predicted, size
        ):
            console.print(line)
        last = self._train(plan)
        if last is None:
            return self._interrupted(plan)
        with error_kept(plan.final):
            evaluation = self._evaluate(plan, last)
            baselines = self._summary["baselines"]
            card = write_card(self._task, plan.spec, plan.trial, last, self._data, baselines, evaluation)
        if evaluation is not None:
            print_final_table(evaluation, self._task.metrics)
        for line in result_lines(plan.trial, plan.epochs, last, self._task.metrics, predicted):
            console.print(line)
        console.print(f"{plan.final.path}: {card.files}, README.md (model card), reports.jsonl")
        if how := self._task.how(plan.final.path):
            console.print(f"Use it: {how}")
        return 0

    # --- what is trained

    def _plan(self, trial: Row) -> Planned:
        asked = self._asked
        epochs = asked.epochs or self._space.promotion.epochs
        if asked.more is not None:
            epochs = round(longest_final(self._run, trial["id"]) + asked.more)
        config = self._task.config({**trial["config"], "epochs": epochs})
        check_workers(self._task, config, asked.workers, on_cluster=asked.address is not None)
        return plan_final(
            self._run, self._space, self._data, trial, config,
            from_scratch=asked.from_scratch, init=asked.init, checkpoint_minutes=asked.checkpoint_minutes,
        )  # fmt: skip

    def _trunk_epochs(self, plan: Planned) -> float:
        return self._task.trunk_epochs(plan.spec.config)

    def _predicted(self, plan: Planned) -> Prediction | None:
        """Writes down what is promised of a final run, once, and returns the loss that was predicted for its end."""

        def promise() -> dict[str, Any]:
            predicted = predict_loss(self._run, self._space, plan.name, plan.epochs) if plan.trunk else None
            return {
                "trial": plan.name,
                "epochs": plan.epochs,
                "beginning": plan.beginning,
                "begun_at_epoch": plan.spec.provenance["begun_at_epoch"],
                "trunk_epochs": self._trunk_epochs(plan),
                "predicted": predicted and asdict(predicted),
            }

        predicted = record_promotion(plan.final, promise)["predicted"]
        return predicted and Prediction(**predicted)

    def _race(self, plans: list[Planned]) -> Planned | None:
        """Lets the trunks of finalists go on in turn; returns the winner, None where it was interrupted."""
        end = min(map(self._trunk_epochs, plans))
        return race(self._run, plans, self._space.schedule.rung_points(), end, self._train, console.print)

    def _train(self, plan: Planned, until: float | None = None) -> Report | None:
        """Trains to the end and writes the model, or pauses at the report of the epoch `until`.

        Returns:
            The last report; None where it was paused or interrupted.
        """
        self._predicted(plan)
        with error_kept(plan.final):
            return self._train_on(plan, until)

    def _train_on(self, plan: Planned, until: float | None) -> Report | None:
        """See `_train`."""
        before = go_on_from(self._run, plan.name, plan.trunk, plan.final) if plan.trunk else []
        if self._cluster is not None or self._asked.workers > 1:
            asked = self._asked
            training: FinalRun = SharedFinal(
                self._task, plan.spec, self._data, asked.workers, self._cluster, asked.heartbeat
            )
        else:
            training = self._task.open_final(plan.spec, self._data)
        stop, reports = threading.Event(), Journal(plan.final.reports, RUN_AGAIN)
        logged = {report["epoch"] for report in read_lines(plan.final.reports)}
        provenance = plan.spec.provenance
        followed = WandbFollower(
            self._asked.wandb, plan.final.path, provenance["run"], plan.final.path.name, plan.spec.config
        )
        for report in before:
            followed.log(report)

        def on_report(report: Report) -> None:
            if until is not None and report["epoch"] >= until - CLOSE:
                stop.set()
            if report["epoch"] in logged:  # a process died between this line and its checkpoint
                return
            logged.add(report["epoch"])
            reports.append(plain_report(plan.name, report))
            followed.log(report)
            try:
                console.print(report_line(report, self._task.metrics))
            except Deserted:  # the step ends and is saved, as after Ctrl-C
                stop.set()

        with asked_to_stop(stop.set, stop.is_set):
            last = training.train(on_report, stop, console.warn)
        followed.finish(0 if last else 1)
        training.close()
        return None if stop.is_set() else last

    def _evaluate(self, plan: Planned, last: Report) -> FinalTable | None:
        """Measures how good the model is, and writes it; None where its task does not measure that."""
        trial, against = plan.trial, self._asked.against
        answers = self._run.answers(trial["id"], trial["resource"])
        beside = Beside(trial, self._run.checkpoint(trial["id"]), answers, against.absolute() if against else None)
        evaluation = self._task.evaluate_final(plan.spec, beside, last, self._data, console.print)
        if evaluation is not None:
            write_json(plan.final.evaluation, evaluation)
        return evaluation

    def _interrupted(self, plan: Planned) -> int:
        command = shell_command("salt_tune.promote", self._run.path, *self.goes_on(plan))
        console.last_words(f"Interrupted; the same command goes on from here: {command}")
        return INTERRUPTED

    def goes_on(self, plan: Planned) -> tuple[str, ...]:
        """Returns the flags of the command that goes on."""
        asked = self._asked
        which = ("--trial", plan.name) if asked.top is None else ("--top", asked.top)
        given: Iterable[tuple[bool, tuple[object, ...]]] = (
            (asked.from_scratch, ("--from-scratch",)),
            (asked.anyway, ("--anyway",)),
            (asked.init is not None, ("--init", asked.init and asked.init.absolute())),
            (asked.workers > 1, ("--workers", asked.workers)),
            (asked.heartbeat != SILENT_SECONDS, ("--heartbeat", f"{asked.heartbeat:g}")),
            (asked.address is not None, ("--address", asked.address)),
            (asked.against is not None, ("--against", asked.against and asked.against.absolute())),
            (asked.store is not None, ("--store", self._data.path.absolute())),
            (asked.wandb != "off", ("--wandb", asked.wandb)),
        )
        more = (word for is_given, words in given if is_given for word in words)
        return tuple(map(str, (*which, "--epochs", f"{plan.epochs:g}", *more)))
