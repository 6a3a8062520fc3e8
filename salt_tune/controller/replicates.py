"""The finalists again, with other seeds: how much of a lead is the hyperparameters', and how much the seed's."""

from collections.abc import Mapping

from analysis.run_directory.events import TrialAdded
from analysis.run_directory.ranking import complete
from analysis.run_directory.trials import Trial

MOST_FINALISTS = 3


def next_replicate(trials: Mapping[str, Trial], seeds: int) -> TrialAdded | None:
    """Returns a finalist with the next seed that it has not been trained with; None where all have been.

    Args:
        trials: the trials, by id, replicates among them.
        seeds: further seeds of each finalist.
    """
    finalists = complete(trials.values())[:MOST_FINALISTS]
    for number in range(1, seeds + 1):
        for trial in finalists:
            name = f"{trial.id}-seed{number}"
            if name not in trials:
                seed = trial.seed + number
                return TrialAdded(name, trial.parameters, {**trial.config, "seed": seed}, seed, replicate_of=trial.id)
    return None
