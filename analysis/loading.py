"""Loads a run directory into tidy pandas tables."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.errors import RunError, is_number, require_fields, require_numbers
from analysis.reports import EPOCH_DECIMALS, as_table, natural, read_reports
from salt_tune.run import FORMAT_VERSION, FinalDirectory, RunDirectory

SUMMARY_FIELDS = (
    "name",
    "references",
    "seed",
    "objective",
    "parameters",
    "scales",
    "epochs",
    "rungs",
    "trials",
    "best",
    "epochs_trained",
    "epochs_without_pruning",
    "training_seconds",
    "wall_seconds",
)
REFERENCES = ("training_mean", "position_mean", "nearest_visible")
MEASURES = ("epochs", "val_loss", "val_r2", "probe_top1", "effective_rank", "training_seconds")
COUNTS = ("rank", "student_parameters", "predictor_parameters")
RESULT_COLUMNS = ("trial", "state", "rank", "epochs", "val_loss", "val_r2", "probe_top1", "effective_rank")
COST_COLUMNS = ("student_parameters", "predictor_parameters", "training_seconds", "error")
TRIAL_FIELDS = (*(name for name in (*RESULT_COLUMNS, *COST_COLUMNS) if name != "trial"), "id", "config", "parameters")


@dataclass(frozen=True, eq=False)
class Run:
    """One search, as tables.

    Attributes:
        directory: where it lies.
        summary: `summary.json` as it is.
        trials: one row a trial, T2 before T10. Columns: `trial`, `state`, `rank` (1 is best), `epochs`, `val_loss`,
            `val_r2`, `probe_top1` (share of clips), `effective_rank`; one column a searched parameter, under its own
            name; `student_parameters`, `predictor_parameters` (counts), `training_seconds`, `error`; and the rest of
            the configuration as `config.NAME`.
        reports: one row a report, sorted by trial and epoch; see `analysis.reports.read_reports`.
        final: the reports of the promoted runs, with the name of the folder as `promotion` in front; none: no rows.
    """

    directory: RunDirectory
    summary: dict[str, Any]
    trials: pd.DataFrame
    reports: pd.DataFrame
    final: pd.DataFrame

    @property
    def parameters(self) -> list[str]:
        """The names of the searched parameters."""
        return list(self.summary["parameters"])

    @property
    def metric(self) -> str:
        """The column that the search optimized, such as `val_loss`."""
        return str(self.summary["objective"]["metric"])

    @property
    def mode(self) -> str:
        """`min` or `max`: what is best of the metric."""
        return str(self.summary["objective"]["mode"])

    @property
    def references(self) -> dict[str, float]:
        """`val_loss` of the predictors that learned nothing, by name: `REFERENCES`."""
        return {name: float(self.summary["references"][name]) for name in REFERENCES}

    @property
    def best(self) -> str | None:
        """The id of the winner, or None where no trial can be one."""
        best: str | None = self.summary["best"]
        return best

    def clip_losses(self, trial: str | None = None, epoch: float | None = None) -> pd.DataFrame:
        """Reads the held-out loss of each clip at each report, or at those of one trial or epoch.

        Reports without a file of clip losses, such as of a trial that diverged, have no rows.

        Returns:
            One row a trial, epoch and clip: `trial`, `epoch`, `clip`, `loss` (float64).

        Raises:
            RunError: a file is broken or lacks a column.
        """
        wanted = self.reports
        if trial is not None:
            wanted = wanted[wanted["trial"] == trial]
        if epoch is not None:
            wanted = wanted[wanted["epoch"] == round(epoch, EPOCH_DECIMALS)]
        tables = [pd.DataFrame({"trial": [], "epoch": [], "clip": [], "loss": []}).astype(_CLIP_TYPES)]
        for name, at in zip(wanted["trial"], wanted["epoch"], strict=True):
            path = self.directory.clip_losses(name, at)
            if path.exists():
                tables.append(_read_clip_losses(path).assign(trial=name, epoch=at).astype(_CLIP_TYPES))
        return pd.concat(tables, ignore_index=True)


_CLIP_TYPES = {"trial": "str", "epoch": "float64", "clip": "str", "loss": "float64"}


def load(run: str | Path) -> Run:
    """Loads the run directory `run`.

    Raises:
        RunError: the folder is missing, is no run whose search has ended, is of another format, or has a broken file.
    """
    directory = RunDirectory(run)
    summary = _read_summary(directory)
    return Run(directory, summary, _trials(directory, summary), _reports(directory, summary), _final(directory))


def latest_run(root: str | Path | None = None) -> Path:
    """The newest run directory with a summary in `root`; by default in `runs/` here or in a folder above.

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


def _read_summary(directory: RunDirectory) -> dict[str, Any]:
    path = directory.summary
    if not directory.path.is_dir():
        raise RunError(f"{directory.path}: no such folder, and must be the run directory of a search")
    if not path.is_file():
        raise RunError(f"{directory.path}: has no {path.name}, and must be a run directory whose search has ended")
    try:
        summary = json.loads(path.read_bytes())
    except ValueError as error:
        raise RunError(f"{path}: broken JSON, and must be the summary of a search: {error}") from error
    require_fields(str(path), summary, ["format_version"])
    if summary["format_version"] != FORMAT_VERSION:
        raise RunError(f"{path}: format_version is {summary['format_version']!r}, and must be {FORMAT_VERSION}")
    require_fields(str(path), summary, SUMMARY_FIELDS)
    require_fields(f"{path}, references", summary["references"], REFERENCES)
    for name in REFERENCES:
        if not is_number(summary["references"][name], finite=True):
            value = summary["references"][name]
            raise RunError(f"{path}, references: {name} is {value!r}, and must be a finite number")
    return dict(summary)


def _trials(directory: RunDirectory, summary: dict[str, Any]) -> pd.DataFrame:
    parameters = summary["parameters"]
    for name in {*RESULT_COLUMNS, *COST_COLUMNS}.intersection(parameters):
        raise RunError(f"{directory.summary}: parameters has {name!r}, and must not, as it names a result of a trial")
    for number, trial in enumerate(summary["trials"]):
        where = f"{directory.summary}, trials[{number}]"
        require_fields(where, trial, TRIAL_FIELDS)
        require_numbers(where, trial, (*MEASURES, *COUNTS))
    rows = [_trial_row(trial) for trial in sorted(summary["trials"], key=lambda trial: natural(trial["id"]))]
    names = dict.fromkeys([*RESULT_COLUMNS, *parameters, *COST_COLUMNS, *(name for row in rows for name in row)])
    table = pd.DataFrame(rows).reindex(columns=list(names))
    return table.astype(
        {
            **dict.fromkeys(("trial", "state", "error"), "str"),
            **dict.fromkeys(MEASURES, "float64"),
            **dict.fromkeys(COUNTS, "Int64"),
        }
    )


def _trial_row(trial: dict[str, Any]) -> dict[str, Any]:
    searched = trial["parameters"]
    results = {name: trial[name] for name in (*RESULT_COLUMNS, *COST_COLUMNS) if name != "trial"}
    fixed = {f"config.{name}": value for name, value in trial["config"].items() if name not in searched}
    return {"trial": trial["id"], **results, **searched, **fixed}


def _reports(directory: RunDirectory, summary: dict[str, Any]) -> pd.DataFrame:
    if directory.reports.is_file():
        return read_reports(directory.reports)
    if summary["epochs_trained"] > 0:
        raise RunError(f"{directory.reports}: no such file, and must hold the reports of the trials")
    return as_table([])


def _final(directory: RunDirectory) -> pd.DataFrame:
    root = directory.final_root
    folders = sorted(root.iterdir(), key=lambda folder: natural(folder.name)) if root.is_dir() else []
    tables = {path.name: FinalDirectory(path).reports for path in folders}
    empty = as_table([]).assign(promotion=pd.Series(dtype="str"))
    read = [read_reports(path).assign(promotion=name) for name, path in tables.items() if path.is_file()]
    table = pd.concat([empty, *read], ignore_index=True)
    return table[["promotion", *table.columns.drop("promotion")]]


def _read_clip_losses(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path, columns=["clip", "loss"])
    except (OSError, ValueError) as error:
        cause = str(error).splitlines()[0]
        raise RunError(f"{path}: cannot be read, and must hold the columns clip and loss: {cause}") from error
