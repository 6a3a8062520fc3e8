"""What a summary says in words of what may mislead: rungs that do not rank, seeds, features that went."""

from collections.abc import Iterator
from typing import Any

from analysis.run_directory.trials import TrialState
from analysis.statistics.seed_noise import Source
from analysis.verdict import UNFIT
from salt_tune.ui.format import counted, quantity

ALWAYS_CLIPPED = 0.9  # of the steps, from which on clipping is worth a line

Summary = dict[str, Any]


def warning_lines(summary: Summary) -> Iterator[str]:
    """Says what to watch out for."""
    yield from _disagreement(summary)
    yield from _clipping(summary)
    yield from reliability_lines(summary)


def _disagreement(summary: Summary) -> Iterator[str]:
    """Says that loss and probe do not agree, and which complete trials are of no use."""
    complete = [trial for trial in summary["trials"] if trial["state"] == TrialState.COMPLETE and trial["rank"]]
    chosen = next((trial for trial in complete if trial["id"] == summary["recommended"]), None)
    probed = [trial for trial in complete if trial.get("probe_top1") is not None]
    if chosen is not None and chosen.get("probe_top1") is not None:
        other = max(probed, key=lambda trial: float(trial["probe_top1"]))
        if other["probe_top1"] > chosen["probe_top1"]:
            higher = f"the best is {other['id']}'s, {other['probe_top1']:.3f}"
            yield f"the probe_top1 of {chosen['id']} is {chosen['probe_top1']:.3f}; {higher}"
    best = next((trial for trial in complete if trial["id"] == summary["best"]), None)
    ahead = [trial for trial in complete if best and trial["verdict"] in UNFIT and trial["score"] < best["score"]]
    for verdict in dict.fromkeys(trial["verdict"] for trial in ahead):
        names = [trial["id"] for trial in ahead if trial["verdict"] == verdict]
        has = "has" if len(names) == 1 else "have"
        yield f"{', '.join(names)} {has} a better {summary['objective']['metric']}, but cannot win: {verdict}"


def _clipping(summary: Summary) -> Iterator[str]:
    """Says that gradients were clipped in nearly all steps."""
    shares = [share for trial in summary["trials"] if (share := trial["clipped_share"]) is not None]
    if shares and min(shares) > ALWAYS_CLIPPED:
        share = "all" if min(shares) == 1 else f"at least {min(shares):.0%}"
        yield f"gradients were clipped in {share} of the steps of each trial: see grad_clip"


def reliability_lines(summary: Summary) -> Iterator[str]:
    """Says whether what a rung says of trials holds to the end, and what seeds alone make of a score."""
    from analysis.statistics.rung_correlation import (  # with pandas, which takes most of a second
        FEWEST,
        RungCorrelation,
    )

    found = [RungCorrelation(**entry) for entry in summary["rung_correlations"]]
    deepest = quantity(found[0].deepest) if found else ""  # of all of them
    if told := [each for each in found if each.conclusion != "too few"]:
        at = (
            f"{each.spearman:.2f} [{each.low:.2f}, {each.high:.2f}] at rung {quantity(each.rung)} "
            f"({each.trials} trials)"
            for each in told
        )
        yield f"Rank correlation with rung {deepest}: {', '.join(at)}"
    few = [each for each in found if each.conclusion == "too few"]
    if equal := [quantity(each.rung) for each in few if each.trials >= FEWEST]:
        yield f"Rung {', '.join(equal)}: all scores are equal there or at rung {deepest}, so nothing is ranked"
    if short := [quantity(each.rung) for each in few if each.trials < FEWEST]:
        yield f"Rung {', '.join(short)}: too few trials came to rung {deepest} to tell how well it ranks them"
    if found and found[0].conclusion == "too short":
        yield "  the first rung is too short for this space: raise schedule.first_rung"
    elif {"unclear"} <= {each.conclusion for each in found} <= {"unclear", "too few"}:
        yield "  whether the rungs rank trials well is not to be told from so few that came so far"
    yield _noise(summary)


def _noise(summary: Summary) -> str:
    """Says how much of a difference the seeds alone make, and how that is known."""
    noise = summary["seed_noise"]
    if noise is None:
        return "Seeds: not counted, as each trial has one and few are alike; --replicates N trains further ones"
    sd = f"Seeds: sd {noise['within_sd']:.4f}"
    if noise["source"] == Source.SIMILAR:
        pairs = counted(noise["degrees"], "pair")
        where = f"from {pairs} of similar configurations at rung {quantity(noise['rung'])}"
        return f"{sd} or less, {where}; --replicates N measures it"
    between = noise["between_sd"]
    spread = "" if between is None else f", {between:.4f} between the {noise['trials']} configurations that finished"
    return f"{sd} between seeds of a configuration ({counted(noise['degrees'], 'replicate')}){spread}"
