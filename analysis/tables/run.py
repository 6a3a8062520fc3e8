"""Loads a run directory into tidy pandas tables."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.errors import RunError
from analysis.run_directory.events import SessionEnded
from analysis.run_directory.journal import read_events
from analysis.run_directory.paths import RunDirectory, read_manifest
from analysis.run_directory.reports import RESOURCE_DECIMALS
from analysis.run_directory.so_far import summary_so_far
from analysis.tables.clip_losses import read_clip_table, read_time_slots
from analysis.tables.decisions import decision_table
from analysis.tables.reports import as_table, read_reports
from analysis.tables.steps import step_table
from analysis.tables.summary import read_summary
from analysis.tables.trials import trial_table


@dataclass(frozen=True, eq=False)
class Run:
    """One search, as tables.

    Attributes:
        directory: where it lies.
        summary: `summary.json` as it is; while the search runs, or after it died, the same fields with what is known so
            far, see `analysis.run_directory.so_far`.
        over: whether `summary.json` is that of the search's last session: no process runs it, and none died.
        trials: one row a trial, T2 before T10. Columns: `trial`, `state`, `rank` (1 is best), `score` (lower is
            better), `resource` (the deepest point reached), `epochs`, `tflop`, `val_loss`, `val_loss_se`, `val_r2`,
            `probe_top1` (share of clips), `effective_rank`, `verdict`; one column a searched parameter, under its own
            name (missing where it was not set); `student_parameters`, `predictor_parameters` (counts), `step_seconds`,
            `training_seconds`, `origin`, `replicate_of`, `seed`, `error`; and the rest of the configuration as
            `config.NAME`.
        reports: one row a report, sorted by trial and resource; see `analysis.tables.reports.read_reports`.
        decisions: one row a decision, in order: `event` and `trial`; and, where the event has them, `start`,
            `milestone`, `reason`, `predicted`, `predicted_sd`, `chance`, `resource`, `status`, `score`, `retry`,
            `state`, `error`, `trials`, `seconds`. Numbers are float64 (missing: NaN), but for `trials` (Int64) and
            `retry` (boolean). See docs/run-directory.md.
        final: the reports of the promoted runs, with the name of the folder as `promotion` in front; none: no rows.
    """

    directory: RunDirectory
    summary: dict[str, Any]
    over: bool
    trials: pd.DataFrame
    reports: pd.DataFrame
    decisions: pd.DataFrame
    final: pd.DataFrame

    def __repr__(self) -> str:
        """Returns a line: which run it is, how many trials it had and which won."""
        return f"Run({str(self.directory.path)!r}: {len(self.trials)} trials, best {self.best})"

    @property
    def parameters(self) -> list[str]:
        """The names of the searched parameters."""
        return list(self.summary["parameters"])

    @property
    def metric(self) -> str:
        """What the search optimized: a column of the reports, such as `val_loss`, or the name of a weighted pair."""
        return str(self.summary["objective"]["metric"])

    @property
    def curve(self) -> str:
        """The column of the reports that shows it: the metric, or the first one of a weighted pair."""
        return str(next(iter(self.summary["objective"]["weights"])))

    @property
    def mode(self) -> str:
        """`min` or `max`: what is best of the metric."""
        return str(self.summary["objective"]["mode"])

    @property
    def resource(self) -> str:
        """What a trial's length is measured in: `epoch`, `tflop` (of training) or `second` (of training)."""
        return str(self.summary["resource"])

    @property
    def full(self) -> float:
        """The resource of a trial that trained to the end."""
        return float(self.summary["full"])

    @property
    def baselines(self) -> dict[str, float]:
        """`val_loss` of the predictors that learned nothing, by name; none where the task has none."""
        return {name: float(loss) for name, loss in self.summary["baselines"].items()}

    @property
    def best(self) -> str | None:
        """The id of the winner, or None where no trial can be one."""
        best: str | None = self.summary["best"]
        return best

    def steps(self, trial: str | None = None) -> pd.DataFrame:
        """Reads what the training steps came to, a few at a time: of all trials, or of one.

        Returns:
            One row a few steps, in order: `trial`, `step` (the last of them), `steps` (how many; without those whose
            batch was left out), `epoch` (as far as `step`); the means `train_loss`, `grad_norm` (before clipping) and
            `clipped_share`; `step_lr`, of the last one. Numbers are float64, `step` and `steps` int64. Trials whose
            task keeps none have no rows.

        Raises:
            RunError: a file is broken; there is no such trial.
        """
        names = [self._known(trial)] if trial is not None else [*self.trials["trial"]]
        return step_table("trial", {name: self.directory.steps(name) for name in names})

    def final_steps(self) -> pd.DataFrame:
        """Reads the same of the promoted runs, with the name of the folder as `promotion` in place of the trial.

        Raises:
            RunError: a file is broken.
        """
        return step_table("promotion", {final.path.name: final.steps for final in self.directory.finals()})

    def time_slot_losses(self, trial: str | None = None, resource: float | None = None) -> pd.DataFrame:
        """Reads the held-out loss by time slot of the predicted tokens at each report, or at those of `clip_losses`.

        Returns:
            One row a trial, resource and time slot: `trial`, `resource` (float64), `time_slot` (int64; of a clip's
            tubelets, from 0), `loss` (the mean over the clips that have masked tokens there), `loss_se` (its standard
            error), `clips` (int64). No rows of tasks that do not keep it.

        Raises:
            RunError: a file is broken; there is no such trial, or no report at that resource.
        """
        return self._of_reports(read_time_slots, _TIME_SLOT_TYPES, trial, resource)

    def clip_losses(self, trial: str | None = None, resource: float | None = None) -> pd.DataFrame:
        """Reads the held-out loss of each clip at each report, or at those of one trial or resource.

        Reports without a file of clip losses, such as of a trial that diverged, have no rows.

        Returns:
            One row a trial, resource and clip: `trial`, `resource` (float64), `clip`, `label` (the class of the clip;
            missing where the task tells none), `loss` (float64).

        Raises:
            RunError: a file is broken or lacks a column; there is no such trial, or no report at that resource.
        """
        return self._of_reports(read_clip_table, _CLIP_TYPES, trial, resource)

    def _known(self, trial: str) -> str:
        """Returns the id of a trial.

        Raises:
            RunError: there is none of that name.
        """
        if trial not in set(self.trials["trial"]):
            raise RunError(f"{self.directory.path}: trial {trial!r}: must be one of {', '.join(self.trials['trial'])}")
        return trial

    def _of_reports(
        self, read: Callable[[Path], pd.DataFrame], types: dict[str, str], trial: str | None, resource: float | None
    ) -> pd.DataFrame:
        """Reads the files of clip losses of some reports, those that are there, below each other."""
        wanted = self.reports
        if trial is not None:
            wanted = wanted[wanted["trial"] == self._known(trial)]
        if resource is not None:
            there = wanted["resource"]
            wanted = wanted[there.round(RESOURCE_DECIMALS) == round(resource, RESOURCE_DECIMALS)]
            if wanted.empty:
                points = ", ".join(f"{point:g}" for point in sorted(set(there))) or "none"
                raise RunError(f"{self.directory.path}: resource {resource:g}: must be one of the reports' ({points})")
        tables = [pd.DataFrame(columns=list(types)).astype(types)]
        for name, at in zip(wanted["trial"], wanted["resource"], strict=True):
            path = self.directory.clip_losses(name, at)
            if path.exists():
                tables.append(read(path).assign(trial=name, resource=at)[list(types)].astype(types))
        return pd.concat(tables[1:] or tables, ignore_index=True)


_CLIP_TYPES = {"trial": "str", "resource": "float64", "clip": "str", "label": "str", "loss": "float64"}
_TIME_SLOT_TYPES = {
    "trial": "str",
    "resource": "float64",
    "time_slot": "int64",
    "loss": "float64",
    "loss_se": "float64",
    "clips": "int64",
}


def load_run(run: str | Path) -> Run:
    """Loads the run directory `run`; see `analysis.tables.runs.load`.

    Raises:
        RunError: the folder is missing, is no run, is of another format, or has a broken file.
    """
    directory = RunDirectory(run)
    if not directory.path.is_dir():
        raise RunError(f"{directory.path}: no such folder, and must be the run directory of a search")
    if directory.manifest.is_file():
        read_manifest(directory)  # refuses another format before its lines are taken for damaged ones
    events = list(read_events(directory, live=True))
    over = directory.summary.is_file() and (not events or isinstance(events[-1], SessionEnded))
    summary = read_summary(directory) if over else summary_so_far(directory, events)
    trials, reports = trial_table(directory, summary), _reports(directory, summary)
    return Run(directory, summary, over, trials, reports, decision_table(events), _final(directory))


def latest_run(root: str | Path | None = None) -> Path:
    """Returns the newest run directory with a summary in `root`; by default in `runs/` here or in a folder above.

    Raises:
        RunError: there is none.
    """
    here = Path.cwd()
    roots = [Path(root)] if root is not None else [folder / "runs" for folder in (here, *here.parents)]
    for folder in filter(Path.is_dir, roots):
        summaries = [file for child in folder.iterdir() if (file := RunDirectory(child).summary).is_file()]
        if summaries:
            return max(summaries, key=lambda file: file.stat().st_mtime).parent
    raise RunError(f"{roots[0]}: holds no run directory with a summary.json, and must hold one; run a search first")


def _reports(directory: RunDirectory, summary: dict[str, Any]) -> pd.DataFrame:
    if directory.reports.is_file():
        return read_reports(directory.reports, directory.lock)
    if summary["resource_trained"] > 0:
        raise RunError(f"{directory.reports}: no such file, and must hold the reports of the trials")
    return as_table([])


def _final(directory: RunDirectory) -> pd.DataFrame:
    finals = {final.path.name: final for final in directory.finals() if final.reports.is_file()}
    empty = as_table([]).assign(promotion=pd.Series(dtype="str"))
    read = [
        read_reports(final.reports, final.lock, point="epoch").assign(promotion=name) for name, final in finals.items()
    ]
    table = pd.concat([empty, *read], ignore_index=True)
    return table[["promotion", *table.columns.drop("promotion")]]
