"""What a search found, as `summary.json`; docs/run-directory.md says what its entries mean."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from analysis.run_directory.paths import FORMAT_VERSION, RunDirectory
from analysis.run_directory.trials import NO_SCORE, TrialRecord, ranking
from salt_tune.space.search_space import SearchSpace
from trainable.evaluate.baselines import References
from trainable.files import write_json

STATES_AT_THE_END = {"paused": "pruned", "waiting": "interrupted", "running": "interrupted"}

MEASURES = (
    "val_loss",
    "val_loss_se",
    "val_r2",
    "probe_top1",
    "effective_rank",
    "student_parameters",
    "predictor_parameters",
    "step_seconds",
)
SPENT = ("tflop", "training_seconds")


def write_summary(
    run: RunDirectory,
    space: SearchSpace,
    records: Sequence[TrialRecord],
    *,
    store: dict[str, Any],
    references: References,
    seed: int,
    wall_seconds: float,
) -> dict[str, Any]:
    """Writes summary.json and returns its content.

    Args:
        run: where to.
        space: what was searched.
        records: the trials, replicates included, in the order of their start.
        store: what is remembered of the clip store.
        references: what predictors get that learned nothing.
        seed: of the search.
        wall_seconds: that it took.
    """
    from analysis.statistics.comparison import seed_noise  # with pandas, which takes most of a second
    from salt_tune.report import comparisons

    ranked, schedule = ranking(list(records)), space.schedule
    scores = comparisons.scores_by_seed(ranked, records)
    finalists = comparisons.finalists(scores)
    order = list(dict.fromkeys([*(each.id for each in finalists), *(record.id for record in ranked)]))
    ranks = {trial: place for place, trial in enumerate(order, start=1)}
    best = next((trial for trial in order if trial in scores), None)
    against_winner = comparisons.AgainstWinner(run, schedule.rung_points(), best)
    noise, objective, against = seed_noise(scores), space.objective, space.against
    summary = {
        "format_version": FORMAT_VERSION,
        "name": run.path.name,
        "space": space.name,
        "store": store,
        "references": references.to_dict(),
        "seed": seed,
        "objective": {
            "metric": objective.name,
            "mode": objective.mode,
            "weights": dict(objective.weights),
            "against": against,
        },
        "parameters": list(space.searched()),
        "scales": space.searched(),
        "resource": schedule.resource,
        "full": schedule.full,
        "rungs": list(schedule.rung_points()),
        "trials": [_trial(record, ranks.get(record.id), against_winner(record.id)) for record in records],
        "best": best,
        "finalists": [asdict(each) for each in finalists],
        "rung_correlations": [asdict(each) for each in comparisons.rung_correlations(records, schedule.rung_points())],
        "seed_noise": noise and asdict(noise),
        "pareto": against and comparisons.pareto(ranked, against),
        "resource_trained": sum(record.resource for record in records),
        "resource_without_pruning": len(records) * schedule.full,
        "training_seconds": sum(record.value("training_seconds") or 0.0 for record in records),
        "wall_seconds": wall_seconds,
    }
    write_json(run.summary, summary)
    return summary


def _trial(record: TrialRecord, rank: int | None, against_winner: dict[str, float] | None) -> dict[str, Any]:
    return {
        "id": record.id,
        "state": STATES_AT_THE_END.get(record.state, record.state),
        "rank": rank,
        "score": record.score if record.score < NO_SCORE else None,
        "config": record.proposal.config,
        "parameters": record.proposal.parameters,
        "seed": record.proposal.seed,
        "replicate_of": record.proposal.replicate_of,
        "resource": record.resource,
        "epochs": record.epochs,
        **{name: record.value(name) for name in MEASURES},
        **{name: record.value(name) or 0.0 for name in SPENT},
        "against_winner": against_winner,
        "error": record.error,
    }
