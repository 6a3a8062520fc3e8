"""What each trial gets of the machine: CPU threads, and a share of a GPU."""

import math
from dataclasses import dataclass
from typing import Final

from trainable.errors import UserError

MOST_CONCURRENT_ON_CPU: Final = 4


@dataclass(frozen=True)
class Resources:
    """What each trial gets.

    Attributes:
        concurrent: trials at a time.
        cpus: threads of each.
        gpus: GPUs of each; below 1 a share of one, 0 none.
    """

    concurrent: int
    cpus: int
    gpus: float


def share_out(cores: int, gpus: int, concurrent: int | None, gpus_per_trial: float | None) -> Resources:
    """Shares a machine out evenly among trials.

    Args:
        cores: of the CPU.
        gpus: that there are.
        concurrent: trials at a time; None: one a GPU, or one a core and at most 4.
        gpus_per_trial: GPUs of each; None: all, shared evenly.

    Raises:
        UserError: so much is not there.
    """
    if gpus_per_trial and gpus_per_trial > gpus:
        found = f"has {gpus}" if gpus else "has none"
        raise UserError(
            f"--gpus-per-trial = {gpus_per_trial:g}: this machine {found}; leave it out to use what is there"
        )
    if gpus_per_trial and gpus_per_trial > 1 and not gpus_per_trial.is_integer():
        raise UserError(f"--gpus-per-trial = {gpus_per_trial:g}: must be a whole number, or below 1")
    if gpus and gpus_per_trial != 0:
        concurrent = concurrent or (math.floor(gpus / gpus_per_trial) if gpus_per_trial else gpus)
        share = gpus_per_trial or (gpus // concurrent if concurrent <= gpus else 1 / math.ceil(concurrent / gpus))
        if share * concurrent > gpus:
            raise UserError(
                f"--concurrent = {concurrent}: with --gpus-per-trial {share:g} at most {math.floor(gpus / share)} fit"
            )
    else:
        concurrent, share = concurrent or min(cores, MOST_CONCURRENT_ON_CPU), 0.0
    return Resources(concurrent, max(1, cores // concurrent), share)
