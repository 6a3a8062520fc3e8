"""What a search found, as `summary.json`; docs/run-directory.md says what its entries mean."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from analysis.run_directory.paths import FORMAT_VERSION, RunDirectory
from analysis.run_directory.ranking import ranking
from analysis.run_directory.trial_row import measures_of, trial_row
from analysis.run_directory.trials import Trial
from salt_tune.space.description import describe
from salt_tune.space.search_space import SearchSpace
from trainable.files import write_json


def write_summary(
    run: RunDirectory,
    space: SearchSpace,
    trials: Sequence[Trial],
    *,
    store: dict[str, Any],
    baselines: Mapping[str, float],
    seed: int,
    wall_seconds: float,
    over: bool,
) -> dict[str, Any]:
    """Writes summary.json and returns its content.

    Args:
        run: where to.
        space: what was searched.
        trials: all trials, replicates included, in the order of their start.
        store: what is remembered of the clip store.
        baselines: what predictors get that learned nothing.
        seed: of the search.
        wall_seconds: that it took.
        over: nothing was left to do, so that no paused trial will go on.
    """
    from analysis.statistics.comparison import seed_noise  # with pandas, which takes most of a second
    from salt_tune.report import comparisons

    ranked, schedule = ranking(trials), space.schedule
    scores = comparisons.scores_by_seed(ranked, trials)
    finalists = comparisons.finalists(scores)
    order = list(dict.fromkeys([*(each.id for each in finalists), *(trial.id for trial in ranked)]))
    ranks = {trial: place for place, trial in enumerate(order, start=1)}
    best = next((trial for trial in order if trial in scores), None)
    against_winner = comparisons.AgainstWinner(run, schedule.rung_points(), best)
    noise, against = seed_noise(scores), space.against
    description = describe(space)
    measures = measures_of(description["metrics"])
    summary = {
        "format_version": FORMAT_VERSION,
        "name": run.path.name,
        "store": store,
        "baselines": dict(baselines),
        "seed": seed,
        **description,
        "trials": [
            trial_row(trial, trial.state.at_exit(over), ranks.get(trial.id), measures, against_winner(trial.id))
            for trial in trials
        ],
        "best": best,
        "finalists": [asdict(each) for each in finalists],
        "rung_correlations": [asdict(each) for each in comparisons.rung_correlations(trials, schedule.rung_points())],
        "seed_noise": noise and asdict(noise),
        "pareto": against and comparisons.pareto(ranked, against, space.task.metrics),
        "resource_trained": sum(trial.resource for trial in trials),
        "resource_without_pruning": len(trials) * schedule.full,
        "training_seconds": sum(trial.value("training_seconds") or 0.0 for trial in trials),
        "wall_seconds": wall_seconds,
    }
    write_json(run.summary, summary)
    return summary
