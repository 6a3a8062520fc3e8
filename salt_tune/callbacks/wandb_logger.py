"""Weights & Biases: one run a trial, and one for the promoted model.

It is written for others to see: what it refuses is refused before a search begins, and what fails later never ends one.
"""

import contextlib
import hashlib
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.run_directory.events import Trials
from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.trials import Trial
from salt_tune.callbacks.base import Mode
from salt_tune.callbacks.lenient import Lenient
from salt_tune.callbacks.tracker import Tracker, numbers_of
from salt_tune.callbacks.wandb_overview import overview
from salt_tune.space.search_space import SearchSpace
from trainable.errors import UserError

PROJECT = "salt_tune"

PLAIN = re.compile(r"[A-Za-z0-9._-]{1,64}")  # what W&B takes as an id and as a group, in its folders and addresses too
PLAIN_LENGTH = 64
ENDING_SECONDS = 10  # that W&B's own process may take to end
FINISH_SECONDS = 120  # that the end of a run may take to upload; what is left lies in wandb/, for `wandb sync`


def check_wandb(mode: Mode) -> None:
    """Makes sure that Weights & Biases will take what is logged, without ever asking for a key in the terminal.

    Raises:
        UserError: online, there is no key, it is refused, or the server cannot be reached.
    """
    if mode == "online":
        try:
            _log_in()
        except UserError:
            _end_process()
            raise


def _log_in() -> None:
    """Logs in; raises what `check_wandb` does."""
    import wandb

    remedy = "take --wandb offline, which `wandb sync` uploads later"
    wandb.setup(settings=wandb.Settings(mode="online", console="off", silent=True))
    try:
        known = wandb.login(prompt=False, verify=True)
    except Exception as error:  # wandb's own, and whatever its process raises
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"--wandb online: W&B does not let you in: {why}; {remedy}") from error
    if not known:
        raise UserError(f"--wandb online: there is no key for W&B; run `wandb login`, set WANDB_API_KEY, or {remedy}")


def _end_process() -> None:
    """Ends W&B's own process, or leaves it: it may miss that it is told to end, and sees the end of this one too."""
    import wandb

    def end() -> None:
        with contextlib.suppress(Exception):  # it has been told that W&B has failed
            wandb.teardown()

    ending = threading.Thread(target=end, daemon=True)
    ending.start()
    ending.join(ENDING_SECONDS)


def plain_name(name: str) -> str:
    """Returns the name as W&B takes it: itself, or what is left of it and a hash, which tells it from others."""
    if PLAIN.fullmatch(name):
        return name
    left = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[: PLAIN_LENGTH - 9].strip("-")
    return f"{left}-{hashlib.sha256(name.encode()).hexdigest()[:8]}".lstrip("-")


class WandbRun:
    """Logs one training to Weights & Biases.

    Its id there is made of group and name (see `plain_name`), so that it can be found again.

    Args:
        mode: "offline" or "online".
        folder: where its files go, in a folder `wandb`.
        group: name of the search.
        name: name of the training.
        config: hyperparameters.
        job: what it is: "trial", "replicate", "final" or "search".
        resume: go on with the run of this name and group, where there is one; offline, it gets further files. Without,
            a run of that id that W&B has already is left alone.

    Raises:
        UserError: W&B refuses.
    """

    def __init__(
        self,
        mode: Mode,
        folder: Path,
        group: str,
        name: str,
        config: dict[str, Any],
        *,
        job: str,
        resume: bool = False,
    ) -> None:
        import wandb  # takes a second, and most searches do without

        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._run = wandb.init(
                project=PROJECT,
                group=plain_name(group),
                name=name,
                job_type=job,
                config=config,
                dir=folder,
                mode=None if mode == "off" else mode,
                id=f"{plain_name(group)}-{name}",
                resume=("allow" if resume else "never") if mode == "online" else None,
                reinit="create_new",
                settings=wandb.Settings(console="off", silent=True, finish_timeout=FINISH_SECONDS),
            )
        except wandb.Error as error:
            raise UserError(f"--wandb {mode}: {group}-{name} cannot be logged: {str(error).splitlines()[0]}") from error
        self._run.define_metric("epoch")
        self._run.define_metric("*", step_metric="epoch")

    def log(self, numbers: Mapping[str, Any], step: int) -> None:
        """Logs the numbers of a report at its step, from which further files of the same run go on."""
        self._run.log(dict(numbers), step=step)

    def finish(self, exit_code: int = 0) -> None:
        """Ends the run."""
        self._run.finish(exit_code=exit_code)


class WandbCalls(Lenient):
    """Calls W&B until it fails."""

    def __init__(self) -> None:
        super().__init__("W&B has failed ({why}); nothing more is logged there; the training goes on")

    def close(self) -> None:
        """Ends W&B's own process where it has failed, which would complain as this one exits."""
        if self.lost:
            _end_process()


class WandbFollower:
    """Follows one training; where W&B fails, it says so once and logs nothing more.

    Args:
        mode: see `WandbRun`, as the others; "off" follows nothing.
        folder: where its files go.
        group: name of the search.
        name: name of the training.
        config: hyperparameters.
    """

    def __init__(self, mode: Mode, folder: Path, group: str, name: str, config: dict[str, Any]) -> None:
        self._try, self._run = WandbCalls(), None
        if mode != "off":
            self._run = self._try(lambda: WandbRun(mode, folder, group, name, config, job="final", resume=True))

    def log(self, report: Mapping[str, Any]) -> None:
        """Logs a report at its step, or, of a task that counts none, at its thousandths of epochs."""
        if (run := self._run) is not None:
            step = int(report.get("step", round(1000 * report["epoch"])))
            self._try(lambda: run.log(numbers_of(report), step))

    def finish(self, exit_code: int) -> None:
        """Ends the run."""
        if (run := self._run) is not None:
            self._try(lambda: run.finish(exit_code))
        self._try.close()


class WandbLogger(Tracker):
    """Logs each trial of a search as a run; see `Tracker`. An open one costs a file and no thread.

    At the end, the search has a run of its own, with all its trials: see `salt_tune.callbacks.wandb_overview`.

    Args:
        run: the run directory; its name is that of the runs' group.
        space: what is searched.
        mode: "offline" or "online".
    """

    def __init__(self, run: RunDirectory, space: SearchSpace, *, mode: Mode) -> None:
        self._calls = WandbCalls()
        super().__init__(run, space, self._calls)
        self._mode = mode

    def _begin(self, trial: Trial, job: str, *, resume: bool) -> WandbRun:
        folder, group = self._directory.path, self._directory.path.name
        return WandbRun(self._mode, folder, group, trial.id, trial.config, job=job, resume=resume)

    def on_search_end(self, trials: Trials, *, over: bool) -> None:
        """See `Tracker`."""
        super().on_search_end(trials, over=over)
        self._calls(lambda: self._log_overview(sum(len(trial.scores) for trial in trials.values())))
        self._calls.close()

    def _log_overview(self, reports: int) -> None:
        folder, group = self._directory.path, self._directory.path.name
        if logged := overview(self._directory):
            run = WandbRun(self._mode, folder, group, "search", {}, job="search", resume=self._resume)
            run.log(logged, reports)
            run.finish()
