"""The finalists again, with other seeds: how much of a lead is the hyperparameters', and how much the seed's."""

from collections.abc import Mapping

from analysis.run_directory.trials import TrialRecord, ranking
from salt_tune.controller.proposal import Proposal

MOST_FINALISTS = 3


def next_replicate(records: Mapping[str, TrialRecord], seeds: int) -> Proposal | None:
    """A finalist with the next seed that it has not been trained with; None where all have been.

    Args:
        records: the trials, by id, replicates among them.
        seeds: further seeds of each finalist.
    """
    finished = [record for record in ranking(list(records.values())) if record.state == "finished"]
    for number in range(1, seeds + 1):
        for record in finished[:MOST_FINALISTS]:
            name = f"{record.id}-seed{number}"
            if name not in records:
                seed = record.proposal.seed + number
                config = {**record.proposal.config, "seed": seed}
                return Proposal(name, record.proposal.parameters, config, seed, replicate_of=record.id)
    return None
