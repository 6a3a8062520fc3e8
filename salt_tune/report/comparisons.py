"""How the trials of a search compare, from their scores and clip losses; docs/run-directory.md has the terms."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from analysis.errors import RunError
from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.ranking import finalist_count, scores_by_seed, standing
from analysis.run_directory.trials import START, Trial, TrialState
from analysis.statistics.bootstrap import paired_bootstrap
from analysis.statistics.comparison import Comparison, Conclusion, Finalist, Sample, compare, rank_finalists
from analysis.statistics.pareto import pareto_front
from analysis.statistics.rung_correlation import RungCorrelation, rung_correlation
from analysis.statistics.seed_noise import SeedNoise, seed_noise
from analysis.tables.clip_losses import read_clip_losses
from salt_tune.report.finalists import noise_of, tied_with_best
from salt_tune.ui.console import console
from trainable.metrics import Metric, fields_of

LOSS = "val_loss"  # what the losses of single clips are of
Losses = dict[str, float]  # by clip
ReadLosses = Callable[[str, float], Losses | None]  # of a trial at a rung; None where there are none to compare


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


@dataclass
class Comparisons:
    """Compares the trials of a search with its winner; see `analysis.statistics.comparison`.

    Args:
        trials: all trials.
        rungs: where trials are compared, ascending; the last is a full trial.
        metric: the objective's name.
        read: gives the losses of the clips.
        level: chance that any comparison with the winner calls a trial better or worse which is not.

    Attributes:
        standing: the complete trials, best first; the first is the winner.
        noise: of the seeds in the objective, and the rung that it was estimated at; None: not known.
    """

    trials: Sequence[Trial]
    rungs: Sequence[float]
    metric: str
    read: ReadLosses
    level: float

    def __post_init__(self) -> None:
        self.standing = standing(self.trials)
        self.noise = noise_of(self.trials, self.rungs)
        self._winner = self.standing[0].id if self.standing else None
        self._scores = scores_by_seed(self.trials)
        self._samples = self._comparable()
        self._loss_noise = self._noise_of_loss()

    def against_winner(self, trial: Trial) -> dict[str, Any] | None:
        """Compares the val_loss of a trial with the winner's, at the deepest rung where both have losses of clips.

        Only where both trained to the end is anything concluded: there, the seeds of both count. Returns None of the
        winner, of replicates, which are counted with what they repeat, and where there is no such rung.
        """
        winner = self._winner
        if winner is None or trial.id == winner or trial.replicate_of is not None:
            return None
        if trial.id in self._samples and winner in self._samples:
            one, other = self._samples[trial.id], self._samples[winner]
            count = max(2, len(self.standing))
            found = compare(one, other, self._loss_noise, configurations=count, level=self.level)
            return None if found is None else {"rung": self.rungs[-1], **asdict(found)}
        for rung in reversed(self.rungs[:-1]):
            losses = self.read(trial.id, rung)
            others = None if losses is None else self.read(winner, rung)
            if losses is not None and others is not None and losses.keys() == others.keys():
                return {"rung": rung, **asdict(_earlier(losses, others))}
        return None

    def finalists(self) -> list[Finalist]:
        """Returns the configurations down to the last one that has several seeds, best mean first; see `standing`."""
        names = list(self._scores)[: finalist_count(self._scores.values())]
        clips = {}
        if self.metric == LOSS:
            clips = {name: sample.clips for name in names if (sample := self._samples.get(name)) and sample.clips}
        return rank_finalists(
            {name: self._scores[name] for name in names},
            clips,
            last=[trial.id for trial in self.standing if trial.unfit],
            configurations=len(self.standing),
            level=self.level,
        )

    def tied(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """Returns the winner and the complete trials that it is not shown to be better than, best first.

        An unfit trial is not among them where the winner is fit. Of another objective than val_loss, and of a task
        without losses of clips, seeds alone tell.

        Args:
            rows: the trials of the summary, with `against_winner`.
        """
        if not self._counts_clips:
            return [trial.id for trial in tied_with_best(self.trials, self.rungs, self.level)]
        found = {row["id"]: row["against_winner"] for row in rows}
        best, *others = self.standing
        return [best.id] + [
            trial.id
            for trial in others
            if (row := found[trial.id]) and Conclusion(row["conclusion"]).as_good and (best.unfit or not trial.unfit)
        ]

    def better_than_start(self, rows: Sequence[Mapping[str, Any]]) -> bool | None:
        """Says whether the winner is better than all points that the search was to start from.

        Args:
            rows: see `tied`.

        Returns:
            False where one of them is the winner or is tied with it; None where there are none, or where one cannot be
            compared: it was stopped before its end, or seeds or clips could not be counted.
        """
        started = [row for row in rows if row["origin"] == START]
        if any(row["id"] == self._winner for row in started):
            return False
        if not self._counts_clips:
            tied = self.tied(rows)
            return False if any(row["id"] in tied for row in started) else None
        found = {row["against_winner"] and row["against_winner"]["conclusion"] for row in started}
        if found & {Conclusion.TIED, Conclusion.BETTER}:
            return False
        return True if found == {Conclusion.WORSE} else None

    @property
    def _counts_clips(self) -> bool:
        """Whether `against_winner` is about what the trials are ranked by."""
        return self.metric == LOSS and self._winner in self._samples

    def _comparable(self) -> dict[str, Sample]:
        """Returns what is known of the complete configurations that have losses of the same clips as the winner."""
        samples = {name: sample for name in self._scores if (sample := self._sample(name)) is not None}
        winner = samples.get(self._winner or "")
        clips = {} if winner is None or winner.clips is None else winner.clips
        return {name: each for name, each in samples.items() if each.clips and each.clips.keys() == clips.keys()}

    def _sample(self, name: str) -> Sample | None:
        """Returns what is known of the val_loss of a complete configuration.

        None where it lost a seed, or has no losses of the clips.
        """
        of_name = (trial for trial in self.trials if name in (trial.id, trial.replicate_of))
        seeds = [trial for trial in of_name if trial.state is TrialState.COMPLETE]
        values = [value for trial in seeds if (value := trial.value(LOSS)) is not None]
        read = (self.read(trial.id, self.rungs[-1]) for trial in seeds)
        losses = [each for each in read if each is not None]
        if not losses or any(each.keys() != losses[0].keys() for each in losses):
            return None
        if len(values) < len(self._scores[name]):
            return None
        return Sample(values, {clip: float(np.mean([each[clip] for each in losses])) for clip in losses[0]})

    def _noise_of_loss(self) -> SeedNoise | None:
        """Returns the noise of the seeds in val_loss: of another objective, only replicates tell it."""
        if self.metric == LOSS:
            return self.noise and self.noise[0]
        return seed_noise({name: sample.scores for name, sample in self._samples.items()})


def _earlier(losses: Losses, others: Losses) -> Comparison:
    """Compares two trials at a rung before the end: by their clips alone, each pair for itself."""
    found = paired_bootstrap(losses, others)
    error = found.standard_error
    return Comparison(found.mean, error, error, None, found.low, found.high, Conclusion.EARLIER)


def reader(run: RunDirectory) -> ReadLosses:
    """Returns what reads the clip losses of a run; a file that is broken costs a warning, not the end of a search."""

    @lru_cache(maxsize=64)  # those of the winner are read again and again
    def read(trial: str, rung: float) -> Losses | None:
        path = run.clip_losses(trial, rung)
        if not path.exists():
            return None
        try:
            losses = read_clip_losses(path)
        except RunError as error:
            console.warn(str(error))
            return None
        if len(losses) < 2 or not all(map(math.isfinite, losses.values())):
            console.warn(f"{path}: cannot be compared: {len(losses)} clips, and must be 2 with finite losses")
            return None
        return losses

    return read
