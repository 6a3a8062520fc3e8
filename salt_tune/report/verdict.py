"""What a summary says first, in words: what to promote, or why nothing should be."""

from collections.abc import Iterator
from typing import Any

from analysis.run_directory.panel_baselines import baselines_beside
from analysis.run_directory.trials import START, TrialState
from analysis.verdict import UNFIT, Verdict
from salt_tune.report.encoder import difference
from salt_tune.report.recommendation import BY
from salt_tune.ui.format import counted, number

FEW_STEPS = 1000  # of an optimiser: a full trial of fewer may just be too short

Summary = dict[str, Any]
Row = dict[str, Any]


def verdict_lines(summary: Summary) -> Iterator[str]:
    """Says what to promote and how sure that is, or that nothing should be and why."""
    rows = {trial["id"]: trial for trial in summary["trials"]}
    if summary["recommended"] is None:
        yield "No trial finished, so there is no winner."
        return
    chosen = rows[summary["recommended"]]
    if summary["nothing_to_promote"]:
        yield "Promote nothing: no encoder that was judged is of more use than an untrained one."
        yield from _reasons(summary, chosen)
        return
    parameters = ", ".join(f"{name} {number(value)}" for name, value in chosen["parameters"].items())
    yield f"Promote {chosen['id']}  {parameters}"
    yield from _start(summary, chosen)
    yield from certainty(summary, chosen)
    if sum(trial["state"] == TrialState.COMPLETE and not trial["replicate_of"] for trial in rows.values()) == 1:
        yield "the only one that finished"


def certainty(summary: Summary, chosen: Row) -> Iterator[str]:
    """Says how sure the search was of a trial: what it is tied with, and what its encoder is worth."""
    if chosen["id"] == summary["recommended"]:
        yield from _tie(summary, chosen)
    else:
        tied = ", which it is tied with" if chosen["id"] in summary["tied"] else ""
        yield f"the search recommends {summary['recommended'] or 'no trial'}{tied}"
    if chosen["verdict"] is not None:
        yield f"its encoder is {chosen['verdict']}{difference(chosen)}"


def _start(summary: Summary, chosen: Row) -> Iterator[str]:
    """Says whether the search found something better than where the user had it start."""
    started = [trial["id"] for trial in summary["trials"] if trial["origin"] == START]
    names = " and ".join(started)
    if summary["better_than_start"]:
        yield f"better than your start, {names}"
    elif summary["better_than_start"] is False:
        own = "it is your start" if chosen["id"] in started else f"your start, {names}, is as good"
        yield f"{own}: the search found nothing better"


def _tie(summary: Summary, chosen: Row) -> Iterator[str]:
    """Says with which others it is tied, and what told them apart."""
    others = [name for name in summary["tied"] if name != chosen["id"]]
    if not others:
        return
    told = "" if chosen["id"] == summary["best"] else f", of which {summary['best']} is ahead"
    by = f"; its {BY} is the highest of them" if chosen.get(BY) is not None else ""
    yield f"tied in {summary['objective']['metric']} with {', '.join(others)}{told}{by}"


def _reasons(summary: Summary, chosen: Row) -> Iterator[str]:
    """Says what may have kept all encoders from learning something of use, as far as the run tells."""
    complete = [trial for trial in summary["trials"] if trial["state"] == TrialState.COMPLETE]
    counts = {verdict: sum(trial["verdict"] == verdict for trial in complete) for verdict in UNFIT}
    yield f"of {counted(len(complete), 'complete trial')}, " + ", ".join(
        f"{count} {verdict}" for verdict, count in counts.items() if count
    )
    beside = baselines_beside(summary, chosen["config"])
    teacher, untrained = (beside.get(name, {}).get("probe_top1") for name in ("teacher", "untrained"))
    if teacher is not None and untrained is not None and teacher <= untrained:
        yield "the teacher: its latents tell no more of the classes than random weights do; take another --teacher"
    if counts[Verdict.COLLAPSED]:
        yield "the learning rate: features collapse where it is high; search lower ones"
    clips, steps = summary["store"].get("train_clips"), chosen.get("step")
    if steps is not None and steps < FEW_STEPS:
        yield f"the length: a full trial makes {steps} steps on {clips} training clips; give it more epochs or clips"
