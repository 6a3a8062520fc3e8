"""What a summary says in words: the winner and what it beat, whether rungs and seeds can be trusted, what it took.

All of it follows from the content of `summary.json`. Lines about the winner are indented under its own.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from analysis.run_directory.trials import UNFIT, TrialState
from analysis.statistics.seed_noise import Source
from salt_tune.report.rivals import rival_lines, seed_lines, start_lines
from salt_tune.ui.format import amount, counted, duration, heading, number, quantity
from trainable.metrics import value_in
from trainable.task import find_task

Summary = dict[str, Any]


def value_of(trial: dict[str, Any], summary: Summary) -> float | None:
    """Returns the objective of a trial as people read it, at its last report; None where it has none."""
    score: float | None = trial["score"]
    return score if score is None or summary["objective"]["mode"] == "min" else -score


def winner_lines(summary: Summary) -> Iterator[str]:
    """Names the winner, what its loss is worth, and how sure it is that it won."""
    best = next(trial for trial in summary["trials"] if trial["id"] == summary["best"])
    if summary["nothing_to_promote"]:
        yield "Nothing here should be promoted: no encoder that was judged is of more use than an untrained one."
    yield f"Winner: {best['id']}  {', '.join(f'{name} {number(value)}' for name, value in best['parameters'].items())}"
    metric, baselines, labels = summary["objective"]["metric"], summary["baselines"], _labels(summary)
    if metric != "val_loss":
        yield f"  {metric} is {value_of(best, summary):.4f}"
    yield f"  {_loss(best)} over the held-out clips{_explained(best.get('val_r2'))}"
    if baselines:
        yield f"  {without_learning(baselines, labels)}"
        yield f"  {best['id']} is {worth(best['val_loss'], baselines, labels)}"
    yield from _beside_untrained(best, summary)
    yield from _beside_probes(best, summary)
    if sum(trial["state"] == TrialState.COMPLETE and not trial["replicate_of"] for trial in summary["trials"]) == 1:
        yield "  the only one that finished"
    yield from rival_lines(summary)
    yield from seed_lines(summary)
    yield from start_lines(summary)


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


def _beside_untrained(best: dict[str, Any], summary: Summary) -> Iterator[str]:
    """Says what the winner is worth beside an untrained encoder, and which trials cannot win for that reason."""
    if best["verdict"] is not None:
        yield f"  its encoder: {best['verdict']}"
    complete = (trial for trial in summary["trials"] if trial["state"] == TrialState.COMPLETE and trial["rank"])
    for trial in complete:
        if best["verdict"] not in UNFIT and trial["verdict"] in UNFIT and trial["score"] < best["score"]:
            yield f"  {trial['id']} has a better {summary['objective']['metric']}, but cannot win: {trial['verdict']}"


def _beside_probes(best: dict[str, Any], summary: Summary) -> Iterator[str]:
    """Says that the loss and the probe do not agree, where they do not."""
    probed = [trial for trial in summary["trials"] if trial.get("probe_top1") is not None]
    other = max(probed, key=lambda trial: float(trial["probe_top1"]), default=best)
    if best.get("probe_top1") is not None and other["probe_top1"] > best["probe_top1"]:
        yield f"  its probe_top1 is {best['probe_top1']:.3f}; the best is {other['id']}'s, {other['probe_top1']:.3f}"


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
