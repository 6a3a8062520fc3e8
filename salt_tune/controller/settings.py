"""How a search is run, beside its space."""

from dataclasses import dataclass
from pathlib import Path

from analysis.run_directory.events import Request


@dataclass(frozen=True)
class Settings:
    """How a search is run, beside its space; run.json keeps it.

    Attributes:
        seed: of weights, masks, data order and suggestions.
        vary_seeds: each trial trains with a seed of its own instead of the common one.
        replicates: further seeds that the finalists are trained with before a winner is named; "auto": a race, see
            `salt_tune.controller.replicates`.
        oom_retries: how often a trial that ran out of memory is tried again.
        keep_checkpoints: paused trials that may keep a checkpoint, with freeze_thaw; None: all.
    """

    seed: int = 0
    vary_seeds: bool = False
    replicates: Request = 0
    oom_retries: int = 0
    keep_checkpoints: int | None = None


def default_replicates(store: str | Path | None) -> Request:
    """Returns the replicates of a search that asks for none: a race on a store of one's own, none on the demo's."""
    return 0 if store is None else "auto"
