"""Runs or trials beside each other, paired clip by clip where they were judged on the same ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from analysis.errors import RunError
from analysis.statistics.bootstrap import paired_bootstrap
from analysis.statistics.comparison import Conclusion, Sample
from analysis.statistics.comparison import compare as compare_samples
from analysis.statistics.seed_noise import SeedNoise, Source
from analysis.tables.run import Run

LOSS: Final = "val_loss"
_SAME_TASK: Final = 1e-9  # relative difference of two baselines that were computed of the same clips and masks
_TYPES = {
    **dict.fromkeys(("name", "run", "trial", "state"), "str"),
    "seeds": "int64",
    **dict.fromkeys(("resource", "epochs", "val_loss", "probe_top1", "effective_rank"), "float64"),
    "verdict": "str",
    **dict.fromkeys(("at", "difference", "standard_error", "low", "high"), "float64"),
    **dict.fromkeys(("conclusion", "note"), "str"),
}


@dataclass(frozen=True)
class _Subject:
    """What is compared: a trial of a run, with its replicates."""

    run: Run
    trial: str

    @property
    def row(self) -> dict[str, Any]:
        trials = self.run.trials
        return {str(name): value for name, value in trials[trials["trial"] == self.trial].iloc[0].items()}

    @property
    def complete(self) -> bool:
        return bool(self.row["state"] == "complete")

    def seeds(self) -> list[str]:
        """The trial and its complete replicates."""
        trials = self.run.trials
        again = trials[(trials["replicate_of"] == self.trial) & (trials["state"] == "complete")]
        return [self.trial, *again["trial"]]

    def points(self) -> list[float]:
        """Where it has losses of clips, ascending."""
        reports = self.run.reports
        there = reports.loc[reports["trial"] == self.trial, "resource"]
        return [point for point in there if self.run.directory.clip_losses(self.trial, point).exists()]

    def sample(self, point: float) -> Sample:
        """Its seeds at a point, and the means over them of the losses of the clips."""
        tables = []
        for name in self.seeds():
            if self.run.directory.clip_losses(name, point).exists():
                tables.append(self.run.clip_losses(name, point).set_index("clip")["loss"])
        means = pd.concat(tables, axis=1).mean(axis=1)
        return Sample([float(each.mean()) for each in tables], {str(clip): float(loss) for clip, loss in means.items()})


def compare(subjects: Sequence[Run | tuple[Run, str]]) -> pd.DataFrame:
    """Compares the winners of runs, or trials of one or several, with the first of them.

    `val_loss` is compared at the deepest point that two of them reached, paired by clip. An interval counts clips and,
    where seeds are known, seeds; it holds together with the others, whichever of all complete trials won. Something is
    concluded only of trials that trained to the end of equally long ones, on the same clips under the same masks. Such
    have equal baselines. Where one was judged otherwise, `note` says so and nothing is subtracted.

    Args:
        subjects: runs, each for its recommended trial, or else its best one; or pairs of a run and the id of a trial.

    Returns:
        One row a subject, in the order given: `name` ("RUN T3"), `run`, `trial`, `state`, `seeds`, `resource`,
        `epochs`, `val_loss` (the mean over its seeds), `probe_top1`, `effective_rank`, `verdict`; `at`, the point of
        the comparison, and `difference` (its `val_loss` less that of the first), `standard_error`, `low`, `high` (95%);
        `conclusion` (see `analysis.statistics.comparison.Conclusion`, the first in the place of the winner); `note`.

    Raises:
        RunError: fewer than two are given, a run has no trial that could be compared, or has none of that id.
    """
    chosen = [_subject(each) for each in subjects]
    if len(chosen) < 2:
        raise RunError(f"{len(chosen)} runs or trials are given, and must be at least two to be compared")
    runs = {id(each.run): each.run for each in chosen}.values()
    tried = sum(int(((run.trials["state"] == "complete") & run.trials["replicate_of"].isna()).sum()) for run in runs)
    first = chosen[0]
    rows = []
    for subject in chosen:
        found = {} if subject is first else _against(subject, first, max(2, tried, len(chosen)))
        rows.append({**_described(subject), **found})
    return pd.DataFrame(rows, columns=list(_TYPES)).astype(_TYPES)


def _subject(given: Run | tuple[Run, str]) -> _Subject:
    run, trial = given if isinstance(given, tuple) else (given, None)
    if trial is None:
        ranked = run.trials[run.trials["rank"].notna()].sort_values("rank")["trial"].tolist()
        trial = run.summary.get("recommended") or run.best or next(iter(ranked), None)
        if trial is None:
            raise RunError(f"{run.directory.path}: no trial has a score, and one must to be compared")
    if trial not in set(run.trials["trial"]):
        names = ", ".join(run.trials["trial"]) or "none"
        raise RunError(f"{run.directory.path}: trial {trial!r}: must be one of {names}")
    return _Subject(run, trial)


def _described(subject: _Subject) -> dict[str, Any]:
    row, name = subject.row, subject.run.directory.path.name
    seeds = subject.seeds()
    losses = subject.run.trials.loc[subject.run.trials["trial"].isin(seeds), LOSS]
    return {
        "name": f"{name} {subject.trial}",
        "run": name,
        "trial": subject.trial,
        "seeds": len(seeds),
        **{
            column: row[column] for column in ("state", "resource", "epochs", "probe_top1", "effective_rank", "verdict")
        },
        LOSS: losses.mean(),
    }


def _against(subject: _Subject, first: _Subject, configurations: int) -> dict[str, Any]:
    """Returns the comparison of a subject with the first one, or a note that says why there is none."""
    if (why := _judged_otherwise(subject.run, first.run)) is not None:
        return {"note": why}
    own, others = subject.points(), first.points()
    common = sorted({*own} & {*others}) if subject.run.resource == first.run.resource else []
    if not common:
        return {"note": "no losses of clips at a point that both reached"}
    at = common[-1]
    one, other = subject.sample(at), first.sample(at)
    if one.clips is None or other.clips is None or one.clips.keys() != other.clips.keys():
        return {"at": at, "note": "judged on other clips"}
    ended = subject.complete and first.complete and own[-1] == others[-1] == at
    if not ended or subject.run.full != first.run.full:
        found = paired_bootstrap(one.clips, other.clips)
        longer = "" if own[-1] == others[-1] == at else "; one trained further"
        ends = {"difference": found.mean, "standard_error": found.standard_error, "low": found.low, "high": found.high}
        return {"at": at, **ends, "conclusion": Conclusion.EARLIER, "note": f"clips alone{longer}"}
    told = compare_samples(one, other, _noise(subject.run, first.run), configurations=configurations)
    if told is None:
        return {"at": at, "note": "neither clips nor seeds can be counted"}
    note = f"with {configurations} complete trials in all" if told.seed_error is not None else "seeds are not counted"
    ends = {name: getattr(told, name) for name in ("difference", "standard_error", "low", "high", "conclusion")}
    return {"at": at, **ends, "note": note}


def _judged_otherwise(run: Run, other: Run) -> str | None:
    """Says what differs between what two runs were judged on; None: nothing that is known."""
    if run is other:
        return None
    one, two = run.summary["store"], other.summary["store"]
    for field in ("fingerprint", "view_hash", "teacher_sha256"):
        if field in one and field in two and one[field] != two[field]:
            return f"another store: {field} is {one[field]!r} and {two[field]!r}"
    mine, theirs = run.baselines, other.baselines
    if mine.keys() != theirs.keys() or not all(
        math.isclose(mine[name], theirs[name], rel_tol=_SAME_TASK) for name in mine
    ):
        return "judged on other clips or under other masks: the baselines differ"
    return None


def _noise(*runs: Run) -> SeedNoise | None:
    """Returns the seeds' noise in `val_loss`: of the run that tells it best."""
    known = []
    for run in runs:
        found = run.summary["seed_noise"]
        if found is not None and run.metric == LOSS:
            known.append(
                SeedNoise(
                    Source(found["source"]), found["within_sd"], found["degrees"], found["trials"], found["between_sd"]
                )
            )
    return max(known, key=lambda noise: (noise.source is Source.REPLICATES, noise.degrees), default=None)
