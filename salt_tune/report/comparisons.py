"""How the trials of a search compare, from their scores and clip losses; docs/run-directory.md has the terms."""

import math
from collections.abc import Mapping, Sequence

from analysis.errors import RunError
from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.trials import Trial, TrialState
from analysis.statistics.comparison import Finalist, paired_bootstrap, pareto_front, rank_finalists
from analysis.statistics.rung_correlation import RungCorrelation, rung_correlation
from analysis.tables.clip_losses import read_clip_losses
from salt_tune.ui.console import console
from trainable.metrics import Metric, fields_of


def scores_by_seed(ranked: Sequence[Trial], trials: Sequence[Trial]) -> dict[str, list[float]]:
    """Returns the scores of the seeds of each configuration that trained to the end, best first; infinite: lost.

    A replicate that failed or was interrupted tells nothing of its configuration, and is left out.

    Args:
        ranked: the trials that rank, best first.
        trials: all of them.
    """
    told = (TrialState.COMPLETE, TrialState.DIVERGED, TrialState.OUT_OF_MEMORY)
    scores = {trial.id: [trial.score] for trial in ranked if trial.state is TrialState.COMPLETE}
    for trial in trials:
        original = trial.replicate_of
        if original in scores and trial.state in told:
            scores[original].append(trial.score)
    return scores


def finalists(scores: dict[str, list[float]]) -> list[Finalist]:
    """Returns the configurations down to the last one that has several seeds, best mean first.

    Those below have one score each, by which they lost; they would be compared by their luck.

    Args:
        scores: see `scores_by_seed`.
    """
    several = [place for place, seeds in enumerate(scores.values()) if len(seeds) > 1]
    return rank_finalists(dict(list(scores.items())[: several[-1] + 1])) if several else []


def rung_correlations(trials: Sequence[Trial], rungs: Sequence[float]) -> list[RungCorrelation]:
    """Returns what each rung says of the deepest one; replicates are left out, as they repeat configurations."""
    originals = [trial for trial in trials if trial.replicate_of is None]
    return rung_correlation(
        {rung: {trial.id: trial.scores[rung] for trial in originals if rung in trial.scores} for rung in rungs}
    )


def pareto(ranked: Sequence[Trial], against: str, metrics: Mapping[str, Metric]) -> list[str]:
    """Returns the trials that trained to the end and that no other beats in both score and cost; best score first."""
    finished = [trial for trial in ranked if trial.state is TrialState.COMPLETE]
    front = pareto_front([(trial.score, cost(trial, against, metrics)) for trial in finished])
    return [finished[index].id for index in front]


def cost(trial: Trial, against: str, metrics: Mapping[str, Metric]) -> float:
    """Returns the second objective, lower is better; infinite where it is not known."""
    values = [trial.value(field) for field in fields_of(against, metrics)]
    return sum(math.inf if value is None else value for value in values)


class AgainstWinner:
    """Compares trials with the winner, clip by clip.

    Args:
        run: where the clip losses are.
        rungs: where trials are compared, ascending.
        winner: its id; None where there is none.
    """

    def __init__(self, run: RunDirectory, rungs: Sequence[float], winner: str | None) -> None:
        self._run, self._winner = run, winner
        found = {rung: self._read(winner, rung) for rung in rungs} if winner else {}
        self._losses = {rung: losses for rung, losses in found.items() if losses is not None}

    def __call__(self, trial: str) -> dict[str, float] | None:
        """Compares a trial with the winner at the deepest rung where both have clip losses.

        Returns None of the winner, and where there is no such rung.
        """
        if trial == self._winner:
            return None
        for rung in sorted(self._losses, reverse=True):
            losses = self._read(trial, rung)
            if losses is not None:
                return self._compare(rung, losses, trial)
        return None

    def _compare(self, rung: float, losses: dict[str, float], trial: str) -> dict[str, float] | None:
        try:
            found = paired_bootstrap(losses, self._losses[rung])
        except ValueError as error:
            console.print(f"warning: {self._run.clip_losses(trial, rung)}: cannot be compared: {error}")
            return None
        return {
            "rung": rung,
            "difference": found.mean,
            "standard_error": found.standard_error,
            "low": found.low,
            "high": found.high,
        }

    def _read(self, trial: str, rung: float) -> dict[str, float] | None:
        """Reads the clip losses of a trial at a rung; None where there are none that could be compared."""
        path = self._run.clip_losses(trial, rung)
        if not path.exists():
            return None
        try:
            losses = read_clip_losses(path)
        except RunError as error:  # one bad file must not take the end of a search with it
            console.print(f"warning: {error}")
            return None
        return losses if len(losses) > 1 else None
