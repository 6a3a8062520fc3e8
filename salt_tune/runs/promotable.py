"""Which trials of a search may be promoted."""

from typing import Any

from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.trials import TrialState
from analysis.verdict import UNFIT
from trainable.errors import UserError
from trainable.registry import nearest

Summary = dict[str, Any]
Row = dict[str, Any]


def choose(run: RunDirectory, summary: Summary, trial: str | None, *, anyway: bool) -> Row:
    """Returns the trial to promote: the one that is named, or the one that the summary recommends.

    Raises:
        UserError: there is none, or it is of no use by its verdict and `anyway` is not given.
    """
    trials: dict[str, Row] = {entry["id"]: entry for entry in summary["trials"]}
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


def finalists(run: RunDirectory, summary: Summary, count: int) -> list[Row]:
    """Returns the best complete trials that are of use, the recommended one first, then those tied with it.

    Raises:
        UserError: there are fewer.
    """
    fit = {
        row["id"]: row
        for row in sorted(summary["trials"], key=lambda row: row["rank"] or len(summary["trials"]) + 1)
        if row["state"] == TrialState.COMPLETE and row["replicate_of"] is None and row["verdict"] not in UNFIT
    }
    order = dict.fromkeys((summary["recommended"], *summary["tied"], *fit))
    chosen = [fit[name] for name in order if name in fit][:count]
    if len(chosen) < count:
        raise UserError(f"--top = {count}: {run.path.name} has {len(chosen)} trials that finished and are of use")
    return chosen
