"""Several runs side by side, as the tables of one with the name of the run in front."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import pandas as pd

from analysis.tables.run import Run, load_run


@dataclass(frozen=True, eq=False)
class Runs(Mapping[str, Run]):
    """Several runs, by name: that of the folder, or its path where two have the same.

    Attributes:
        runs: in the order in which they were asked for.
        trials: see `Run.trials`; the column `run` stands in front, here and in the other tables. A parameter that a run
            did not search is missing in its rows.
        reports: see `Run.reports`.
        decisions: see `Run.decisions`.
        final: see `Run.final`.
    """

    runs: dict[str, Run]

    def __getitem__(self, name: str) -> Run:
        return self.runs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.runs)

    def __len__(self) -> int:
        return len(self.runs)

    @property
    def trials(self) -> pd.DataFrame:
        """See the class."""
        return self._joined(lambda run: run.trials)

    @property
    def reports(self) -> pd.DataFrame:
        """See the class."""
        return self._joined(lambda run: run.reports)

    @property
    def decisions(self) -> pd.DataFrame:
        """See the class."""
        return self._joined(lambda run: run.decisions)

    @property
    def final(self) -> pd.DataFrame:
        """See the class."""
        return self._joined(lambda run: run.final)

    def clip_losses(self, trial: str | None = None, resource: float | None = None) -> pd.DataFrame:
        """See `Run.clip_losses`: those of all runs.

        Raises:
            RunError: a file is broken; one of the runs has no such trial, or no report at that resource.
        """
        return self._joined(lambda run: run.clip_losses(trial, resource))

    def time_slot_losses(self, trial: str | None = None, resource: float | None = None) -> pd.DataFrame:
        """See `Run.time_slot_losses`: those of all runs.

        Raises:
            RunError: see `clip_losses`.
        """
        return self._joined(lambda run: run.time_slot_losses(trial, resource))

    def steps(self, trial: str | None = None) -> pd.DataFrame:
        """See `Run.steps`: those of all runs.

        Raises:
            RunError: a file is broken; one of the runs has no such trial.
        """
        return self._joined(lambda run: run.steps(trial))

    def final_steps(self) -> pd.DataFrame:
        """See `Run.final_steps`: those of all runs.

        Raises:
            RunError: a file is broken.
        """
        return self._joined(lambda run: run.final_steps())

    def _joined(self, table: Callable[[Run], pd.DataFrame]) -> pd.DataFrame:
        """Puts the tables of all runs below each other; columns that are empty in one keep the other's type."""
        named = [table(run).assign(run=name) for name, run in self.runs.items()]
        whole = pd.concat([each for each in named if len(each)] or named[:1], ignore_index=True)
        return whole[["run", *whole.columns.drop("run")]].astype({"run": "str"})


@overload
def load(run: str | Path) -> Run: ...


@overload
def load(run: list[str] | list[Path] | tuple[str | Path, ...]) -> Runs: ...


def load(run: str | Path | list[str] | list[Path] | tuple[str | Path, ...]) -> Run | Runs:
    """Loads a run directory, or several, at any time: of searches that have ended, that run, that failed or died.

    Args:
        run: the folder of a search, or several.

    Returns:
        A `Run`, or of several folders `Runs`. A run without a trial has tables without rows.

    Raises:
        RunError: a folder is missing, is no run, is of another format, or has a broken file.
        ValueError: no folder was given.
    """
    if isinstance(run, str | Path):
        return load_run(run)
    loaded = [load_run(each) for each in run]
    if not loaded:
        raise ValueError("no run was given")
    names = [each.directory.path.name for each in loaded]
    return Runs(
        {
            name if names.count(name) == 1 else str(each.directory.path): each
            for name, each in zip(names, loaded, strict=True)
        }
    )
