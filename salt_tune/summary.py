"""What a search found: `summary.json` (see docs/run-directory.md), and the table and sentences on the console."""

from typing import Any

import numpy as np
import pyarrow.parquet as pq
from rich.table import Table

from salt_tune.console import console
from salt_tune.progress import heading, short
from salt_tune.records import TrialRecord, ranking
from salt_tune.run import FORMAT_VERSION, RunDirectory
from salt_tune.space import METRIC_MODES, SearchSpace
from trainable.files import write_json
from trainable.references import REFERENCE_NAMES, References

MEASURES = ("val_loss", "val_loss_se", "val_r2", "probe_top1", "effective_rank", "training_seconds")


def write_summary(
    run: RunDirectory,
    space: SearchSpace,
    records: list[TrialRecord],
    *,
    store: dict[str, Any],
    references: References,
    seed: int,
    wall_seconds: float,
) -> dict[str, Any]:
    """Writes summary.json and returns its content."""
    ranked = ranking(records, space)
    finished = [record for record in ranked if record.state == "finished"]
    ranks = {record.id: place for place, record in enumerate(ranked, start=1)}
    summary = {
        "format_version": FORMAT_VERSION,
        "name": run.path.name,
        "space": space.name,
        "store": store,
        "references": references.to_dict(),
        "seed": seed,
        "objective": {"metric": space.objective, "mode": METRIC_MODES[space.objective]},
        "parameters": list(space.searched()),
        "scales": space.searched(),
        "epochs": space.schedule.epochs,
        "rungs": space.schedule.rungs(),
        "trials": [_trial(record, ranks.get(record.id)) for record in records],
        "best": finished[0].id if finished else None,
        "against_runner_up": _difference(run, *finished[:2]) if len(finished) > 1 else None,
        "epochs_trained": sum(record.epochs for record in records),
        "epochs_without_pruning": float(len(records) * space.schedule.epochs),
        "training_seconds": sum(record.last.get("training_seconds", 0.0) for record in records),
        "wall_seconds": wall_seconds,
    }
    write_json(run.summary, summary)
    return summary


def _trial(record: TrialRecord, rank: int | None) -> dict[str, Any]:
    return {
        "id": record.id,
        "state": record.state,
        "config": record.proposal.config.to_dict(),
        "parameters": record.proposal.parameters,
        "epochs": record.epochs,
        **{name: record.value(name) for name in MEASURES},
        "rank": rank,
        "student_parameters": record.student_parameters,
        "predictor_parameters": record.predictor_parameters,
        "error": record.error,
    }


def _difference(run: RunDirectory, best: TrialRecord, rival: TrialRecord) -> dict[str, Any]:
    """How much lower the winner's loss is than the runner-up's, clip by clip: mean and standard error."""
    losses = [pq.read_table(run.clip_losses(record.id, record.epochs))["loss"].to_numpy() for record in (best, rival)]
    gap = losses[1].astype(np.float64) - losses[0]
    return {"trial": rival.id, "val_loss_difference": gap.mean(), "standard_error": gap.std(ddof=1) / len(gap) ** 0.5}


def print_summary(run: RunDirectory, summary: dict[str, Any]) -> None:
    """Prints the ranked table, the winner and why, the cost, and where everything lies."""
    trials = {trial["id"]: trial for trial in summary["trials"]}
    ranked = sorted((trial for trial in trials.values() if trial["rank"]), key=lambda trial: trial["rank"])
    console.print(_table(ranked + [trial for trial in trials.values() if not trial["rank"]], summary["parameters"]))
    for trial in trials.values():
        if trial["error"]:
            console.print(f"{trial['id']} {trial['state']}: {trial['error']}")
    console.print()
    if summary["best"]:
        _print_winner(trials[summary["best"]], summary)
    else:
        console.print("No trial finished, so there is no winner.")
        console.print(without_learning(References(**summary["references"])))
    trained, without = summary["epochs_trained"], summary["epochs_without_pruning"]
    console.print(
        f"Cost: {trained:g} epochs trained of {without:g} without pruning ({trained / without:.0%}); "
        f"{summary['training_seconds']:.0f} s of training, summed over trials, in {summary['wall_seconds']:.0f} s"
    )
    console.print(f"All of it: {run.path}")
    if summary["best"]:
        console.print(f"Next: python -m salt_tune.promote {run.path}")


def _print_winner(best: dict[str, Any], summary: dict[str, Any]) -> None:
    values = ", ".join(f"{name} {short(value)}" for name, value in best["parameters"].items())
    console.print(f"Winner: {best['id']}  {values}")
    beyond = (
        f"takes away {best['val_r2']:.1%} of the error of always predicting the training mean"
        if best["val_r2"] > 0
        else "no better than always predicting the training mean"
    )
    console.print(f"  val_loss {best['val_loss']:.4f} +- {best['val_loss_se']:.4f} over the held-out clips: {beyond}")
    references = References(**summary["references"])
    console.print(f"  {without_learning(references)}")
    console.print(f"  {best['id']} is {standing(best['val_loss'], references)}")
    rival = summary["against_runner_up"]
    if rival is None:
        console.print("  the only trial that finished")
        return
    gap, error = rival["val_loss_difference"], rival["standard_error"]
    clear = abs(gap) > 1.96 * error
    verdict = "better than" if clear and gap > 0 else "not better on val_loss than" if clear else "cannot be told from"
    margin = f"{gap:+.4f} +- {1.96 * error:.4f} away (95%, clip by clip, one seed each)"
    console.print(f"  {verdict} {rival['trial']}, the next that finished, whose val_loss is {margin}")


def without_learning(references: References) -> str:
    """The errors of the predictors that learned nothing, in a line."""
    errors = ", ".join(f"{REFERENCE_NAMES[name]} {error:.4f}" for name, error in references.to_dict().items())
    return f"Without learning: {errors}"


def standing(val_loss: float, references: References) -> str:
    """How a held-out loss stands against the best of the predictors that learned nothing."""
    best = references.to_dict()[references.best]
    if val_loss < best:
        return f"{1 - val_loss / best:.1%} below the best of them"
    return f"not better than the {REFERENCE_NAMES[references.best]}, which takes no training"


def _table(trials: list[dict[str, Any]], parameters: list[str]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("rank", "trial", *parameters, "epochs", "val_loss", "+-", "val_r2", "probe_top1", "effective_rank"):
        table.add_column(heading(name), justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for trial in trials:
        table.add_row(
            short(trial["rank"]),
            trial["id"],
            *(short(value) for value in trial["parameters"].values()),
            f"{trial['epochs']:g}",
            *("-" if trial[name] is None else f"{trial[name]:.4f}" for name in ("val_loss", "val_loss_se")),
            *(short(trial[name]) for name in ("val_r2", "probe_top1", "effective_rank")),
            trial["state"],
        )
    return table
