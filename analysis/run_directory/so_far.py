"""What a summary would say of a search that has not ended: it runs, was stopped, or died."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from analysis.errors import require_fields
from analysis.run_directory.events import Event, Trials
from analysis.run_directory.lines import damaged_line
from analysis.run_directory.panel_baselines import read_panel_baselines
from analysis.run_directory.paths import RunDirectory, read_manifest
from analysis.run_directory.ranking import nothing_to_promote, ranking, standing
from analysis.run_directory.trial_row import measures_of, trial_row

DESCRIPTION = (
    "objective", "metrics", "parameters", "scales", "ranges", "resource", "full", "rungs", "baselines", "seed",
    "space", "store", "task",
)  # fmt: skip


def summary_so_far(run: RunDirectory, events: Iterable[Event]) -> dict[str, Any]:
    """Returns the fields of a summary, from run.json and the journal.

    States are those of now: waiting, running and paused ones among them. `best`, which is `recommended` too, is the
    best trial that has trained to its end, if any. Comparisons between trials are made at the end of a search alone, so
    they are empty here.

    Args:
        run: the run directory.
        events: its journal.

    Raises:
        RunError: there is no run.json, it is of another format, or lacks a field; or the journal is damaged.
    """
    manifest = read_manifest(run)
    require_fields(str(run.manifest), manifest, DESCRIPTION)
    trials = Trials()
    for number, event in enumerate(events, start=1):
        with damaged_line(run.decisions, number):
            trials.apply(event)
    best_first = standing(trials.values())
    order = dict.fromkeys(trial.id for trial in (*best_first, *ranking(trials.values())))
    ranks = {trial: place for place, trial in enumerate(order, start=1)}
    measures = measures_of(manifest["metrics"])
    return {
        "format_version": manifest["format_version"],
        "name": run.path.name,
        "over": False,
        **{name: manifest[name] for name in DESCRIPTION},
        "trials": [trial_row(trial, trial.state, ranks.get(trial.id), measures) for trial in trials.values()],
        "best": best_first[0].id if best_first else None,
        "panel_baselines": read_panel_baselines(run),
        "tied": [],
        "recommended": best_first[0].id if best_first else None,
        "nothing_to_promote": nothing_to_promote(trials.values()),
        "better_than_start": None,
        "rounds": [asdict(each) for each in trials.rounds],
        "level": None,
        "finalists": [],
        "rung_correlations": [],
        "seed_noise": None,
        "pareto": None,
        "resource_trained": sum(trial.resource for trial in trials.values()),
        "resource_without_pruning": len(trials) * manifest["full"],
        "training_seconds": sum(trial.value("training_seconds") or 0.0 for trial in trials.values()),
        "wall_seconds": trials.seconds,
    }
