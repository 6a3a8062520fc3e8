"""What a search found, as `summary.json`; docs/run-directory.md says what its entries mean."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from analysis.errors import RunError
from analysis.run_directory.events import Request, RoundStarted
from analysis.run_directory.panel_baselines import read_panel_baselines
from analysis.run_directory.paths import FORMAT_VERSION, RunDirectory
from analysis.run_directory.ranking import nothing_to_promote, ranking
from analysis.run_directory.trial_row import measures_of, trial_row
from analysis.run_directory.trials import Trial
from analysis.statistics.comparison import level_after
from salt_tune.report.finalists import looks
from salt_tune.report.recommendation import recommend
from salt_tune.space.description import describe
from salt_tune.space.search_space import SearchSpace
from salt_tune.ui.console import console
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
    rounds: Sequence[RoundStarted] = (),
    requests: Sequence[Request] = (0,),
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
        rounds: of replicates.
        requests: for replicates, that of run.json first.
    """
    from salt_tune.report import comparisons  # with pandas, which takes most of a second

    ranked, rungs, against = ranking(trials), space.schedule.rung_points(), space.against
    level = level_after(looks(rounds, requests))
    compared = comparisons.Comparisons(trials, rungs, space.objective.name, comparisons.reader(run), level)
    order = dict.fromkeys(trial.id for trial in (*compared.standing, *ranked))
    ranks = {trial: place for place, trial in enumerate(order, start=1)}
    best = compared.standing[0].id if compared.standing else None
    description = describe(space)
    measures = measures_of(description["metrics"])
    rows = [
        trial_row(trial, trial.state.at_exit(over), ranks.get(trial.id), measures, compared.against_winner(trial))
        for trial in trials
    ]
    tied = compared.tied(rows) if best else []
    summary = {
        "format_version": FORMAT_VERSION,
        "name": run.path.name,
        "store": store,
        "baselines": dict(baselines),
        "panel_baselines": _panel_baselines(run),
        "seed": seed,
        "over": over,
        **description,
        "trials": rows,
        "best": best,
        "tied": tied,
        "recommended": recommend(rows, tied),
        "nothing_to_promote": nothing_to_promote(trials),
        "better_than_start": compared.better_than_start(rows),
        "rounds": [asdict(each) for each in rounds],
        "level": level,
        "finalists": [asdict(each) for each in compared.finalists()],
        "rung_correlations": [asdict(each) for each in comparisons.rung_correlations(trials, rungs)],
        "seed_noise": compared.noise and {**asdict(compared.noise[0]), "rung": compared.noise[1]},
        "pareto": against and comparisons.pareto(ranked, against, space.task.metrics),
        "resource_trained": sum(trial.resource for trial in trials),
        "resource_without_pruning": len(trials) * space.schedule.full,
        "training_seconds": sum(trial.value("training_seconds") or 0.0 for trial in trials),
        "wall_seconds": wall_seconds,
    }
    write_json(run.summary, summary)
    return summary


def _panel_baselines(run: RunDirectory) -> list[dict[str, Any]]:
    """Returns what the trials were judged beside; a file that is broken costs a warning, not the end of a search."""
    try:
        return read_panel_baselines(run)
    except RunError as error:
        console.warn(str(error))
        return []
