"""What a summary says in words: the winner and what it beat, whether rungs and seeds can be trusted, what it took.

All of it follows from the content of `summary.json`. Lines about the winner are indented under its own.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from analysis.run_directory.trials import TrialState
from salt_tune.ui.format import amount, counted, duration, heading, number, quantity
from trainable.metrics import value_in
from trainable.task import find_task

RIVALS = 3  # that are named: those that came closest
DECIMALS = 4  # of losses
MOST_DECIMALS = 8

Summary = dict[str, Any]


def value_of(trial: dict[str, Any], summary: Summary) -> float | None:
    """Returns the objective of a trial as people read it, at its last report; None where it has none."""
    score: float | None = trial["score"]
    return score if score is None or summary["objective"]["mode"] == "min" else -score


def winner_lines(summary: Summary) -> Iterator[str]:
    """Names the winner, what its loss is worth, and how sure it is that it won."""
    best = next(trial for trial in summary["trials"] if trial["id"] == summary["best"])
    yield f"Winner: {best['id']}  {', '.join(f'{name} {number(value)}' for name, value in best['parameters'].items())}"
    metric, baselines, labels = summary["objective"]["metric"], summary["baselines"], _labels(summary)
    if metric != "val_loss":
        yield f"  {metric} is {value_of(best, summary):.4f}"
    yield f"  {_loss(best)} over the held-out clips{_explained(best.get('val_r2'))}"
    if baselines:
        yield f"  {without_learning(baselines, labels)}"
        yield f"  {best['id']} is {worth(best['val_loss'], baselines, labels)}"
    yield from _beside_probes(best, summary)
    if sum(trial["state"] == TrialState.COMPLETE and not trial["replicate_of"] for trial in summary["trials"]) == 1:
        yield "  the only one that finished"
    yield from _against_rivals(summary)
    yield from _over_seeds(summary)


def no_winner_lines(summary: Summary) -> Iterator[str]:
    """Says that there is none, and what there would be to beat."""
    yield "No trial finished, so there is no winner."
    if summary["baselines"]:
        yield without_learning(summary["baselines"], _labels(summary))


def _labels(summary: Summary) -> Mapping[str, str]:
    """Returns what the baselines of the search are called."""
    return find_task(summary["task"]).baseline_labels


def without_learning(baselines: Mapping[str, float], labels: Mapping[str, str]) -> str:
    """Returns the errors of the predictors that learned nothing, in a line."""
    errors = ", ".join(f"{labels.get(name, name)} {error:.4f}" for name, error in baselines.items())
    return f"Without learning: {errors}"


def worth(val_loss: float, baselines: Mapping[str, float], labels: Mapping[str, str]) -> str:
    """Says how a held-out loss stands against the best of the predictors that learned nothing."""
    name = min(baselines, key=baselines.__getitem__)
    best = baselines[name]
    if val_loss < best and (share := f"{1 - val_loss / best:.1%}") != "0.0%":
        return f"{share} below the best of them"
    return f"not better than the {labels.get(name, name)}, which takes no training"


def _loss(best: dict[str, Any]) -> str:
    error = "" if best.get("val_loss_se") is None else f" +- {best['val_loss_se']:.4f}"
    return f"val_loss {best['val_loss']:.4f}{error}"


def _explained(val_r2: float | None) -> str:
    if val_r2 is None:
        return ""
    if val_r2 > 0:
        return f": takes away {val_r2:.1%} of the error of always predicting the training mean"
    return ": no better than always predicting the training mean"


def _beside_probes(best: dict[str, Any], summary: Summary) -> Iterator[str]:
    """Says that the loss and the probe do not agree, where they do not."""
    probed = [trial for trial in summary["trials"] if trial.get("probe_top1") is not None]
    other = max(probed, key=lambda trial: float(trial["probe_top1"]), default=best)
    if best.get("probe_top1") is not None and other["probe_top1"] > best["probe_top1"]:
        yield f"  its probe_top1 is {best['probe_top1']:.3f}; the best is {other['id']}'s, {other['probe_top1']:.3f}"


def _against_rivals(summary: Summary) -> Iterator[str]:
    """Compares the winner with those that came closest, clip by clip; the losses of clips are always val_loss."""
    compared = [trial for trial in summary["trials"] if trial["against_winner"] and not trial["replicate_of"]]
    compared.sort(key=lambda trial: (-trial["against_winner"]["rung"], trial["against_winner"]["difference"]))
    measure = "" if summary["objective"]["metric"] == "val_loss" else "in val_loss, "
    note = " (95%, clip by clip, one seed each)"
    for trial in compared[:RIVALS]:
        found = trial["against_winner"]
        early = f" after {amount(found['rung'], summary['resource'])}" if found["rung"] < summary["full"] else ""
        words = _comparison(trial["id"], found["difference"], found["low"], found["high"], "on every clip")
        interval = "[" in words
        yield f"  {measure}{words}{early}{note if interval else ''}"
        note = "" if interval else note


def _over_seeds(summary: Summary) -> Iterator[str]:
    """Compares the winner with the other finalists, over their seeds."""
    best, *others = summary["finalists"] or [None]
    if best is None or best["mean"] is None:
        return
    mean, low, high = best["mean"], best["low"], best["high"]
    if summary["objective"]["mode"] == "max":
        mean, low, high = -mean, None if high is None else -high, None if low is None else -low
    interval = "" if low is None else f" [{low:.4f}, {high:.4f}] (95%)"
    yield f"  over {counted(best['seeds'], 'seed')}: {summary['objective']['metric']} {mean:.4f}{interval}"
    for other in others[:RIVALS]:
        behind = other["behind"]
        if behind is not None:
            rival = f"{other['id']} ({counted(other['seeds'], 'seed')})"
            words = _comparison(rival, behind["mean"], behind["low"], behind["high"], "with every seed")
            yield f"  over seeds, {words}"
        elif other["mean"] is None:
            yield f"  over seeds, better than {other['id']}, which lost one"


def _comparison(rival: str, difference: float, low: float, high: float, everywhere: str) -> str:
    """Compares the winner with a rival that is `difference` behind, with the ends of its interval.

    Args:
        rival: its name.
        difference: of the two means.
        low: the lower end of the interval.
        high: its upper end.
        everywhere: where they are equal if there is no difference at all: "on every clip".
    """
    if difference == low == high == 0:
        return f"equal to {rival} {everywhere}"
    if not any(round(value, DECIMALS) for value in (difference, low, high)):
        return f"equal to {rival} to {DECIMALS} decimals"
    near = min(abs(low), abs(high))
    if low <= 0 <= high or not round(near, MOST_DECIMALS):
        return f"cannot be told from {rival}, which is {_digits(difference)} [{_digits(low)}, {_digits(high)}] behind"
    # An end that is not zero must not look like it.
    decimals = next(count for count in range(DECIMALS, MOST_DECIMALS + 1) if round(near, count))
    ends = sorted((abs(low), abs(high)))
    shown = f"{_digits(abs(difference), decimals)} [{', '.join(_digits(end, decimals) for end in ends)}]"
    return f"better than {rival} by {shown}" if low > 0 else f"not as good as {rival}, by {shown}"


def _digits(value: float, decimals: int = DECIMALS) -> str:
    return f"{round(value, decimals) + 0.0:.{decimals}f}"  # + 0.0: no "-0.0000"


def pareto_table(summary: Summary) -> Table:
    """Tabulates the trials that none beats in both objectives, best objective first."""
    trials = {trial["id"]: trial for trial in summary["trials"]}
    metric, against = summary["objective"]["metric"], summary["objective"]["against"]
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("trial")
    for name in (metric, against):
        table.add_column(heading(name), justify="right", no_wrap=True)
    for trial in (trials[name] for name in summary["pareto"]):
        table.add_row(trial["id"], f"{value_of(trial, summary):.4f}", _cost(trial, summary))
    return table


def _cost(trial: dict[str, Any], summary: Summary) -> str:
    value = value_in(trial, summary["objective"]["against"], find_task(summary["task"]).metrics)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def reliability_lines(summary: Summary) -> Iterator[str]:
    """Says whether what a rung says of trials holds to the end, and what seeds alone make of a score."""
    from analysis.statistics.rung_correlation import (  # with pandas, which takes most of a second
        FEWEST,
        RungCorrelation,
    )

    found = [RungCorrelation(**entry) for entry in summary["rung_correlations"]]
    for each in found:
        if each.conclusion != "too few":
            interval = f"{each.spearman:.2f} [{each.low:.2f}, {each.high:.2f}]"
            other = f"rung {quantity(each.deepest)} over {each.trials} trials"
            yield f"Rung {quantity(each.rung)}: rank correlation {interval} with {other}"
    few = [each for each in found if each.conclusion == "too few"]
    for each in (each for each in few if each.trials >= FEWEST):
        other = f"rung {quantity(each.deepest)}"
        yield f"Rung {quantity(each.rung)}: all scores are equal there or at {other}, so nothing is ranked"
    if few := [each for each in few if each.trials < FEWEST]:
        names = ", ".join(quantity(each.rung) for each in few)
        yield f"Rung {names}: too few trials came to rung {quantity(few[0].deepest)} to tell how well it ranks them"
    if found and found[0].conclusion == "too short":
        yield "  the first rung is too short for this space: raise schedule.first_rung"
    elif {"unclear"} <= {each.conclusion for each in found} <= {"unclear", "too few"}:
        yield "  whether the rungs rank trials well is not to be told from so few that came so far"
    noise = summary["seed_noise"]
    if noise:
        spread = (
            ""
            if noise["between_sd"] is None
            else (f", {noise['between_sd']:.4f} between the {noise['trials']} configurations that finished")
        )
        replicates = counted(noise["replicates"], "replicate")
        yield f"Seeds: sd {noise['within_sd']:.4f} between seeds of a configuration ({replicates}){spread}"


def cost_lines(summary: Summary, concurrent: int | None) -> Iterator[str]:
    """Says what the search took, beside what it would have taken without pruning.

    Args:
        summary: of the search.
        concurrent: how many trials ran at a time, where it is known.
    """
    trained, without = summary["resource_trained"], summary["resource_without_pruning"]
    share = f" ({trained / without:.0%})" if without else ""
    whole = f"{amount(without, summary['resource'])} had all {len(summary['trials'])} trials been trained to the end"
    yield f"Cost: {amount(trained, summary['resource'])} of {whole}{share}"
    wall, training = summary["wall_seconds"], summary["training_seconds"]
    if concurrent and wall:
        share = f"{training / (wall * concurrent):.0%} of the time of {counted(concurrent, 'worker')}"
        yield f"Time: {duration(wall)}; {duration(training)} of training in all trials, {share}"
    else:
        yield f"Time: {duration(wall)}, with {duration(training)} of training in all trials"
