"""How long a training step takes here: measured, for trials with time as their resource."""

from itertools import pairwise
from statistics import median

import torch

from trainable.config import TrialConfig
from trainable.data.store.clip_store import ClipStore
from trainable.train.training import Training

WARM_UP = 5  # steps that are not timed: memory is asked for, kernels are chosen or compiled
GROUPS, GROUP_STEPS = 5, 4
HARMLESS_LR = 1e-12  # the steps must not diverge


def measure_step_seconds(config: TrialConfig, store: ClipStore, device: torch.device | str | None = None) -> float:
    """Measures the seconds of a step with everything but evaluation, from some steps of a training that is thrown away.

    The median of the means of a few groups of steps; each group waits for the device once.
    """
    steps = WARM_UP + GROUPS * GROUP_STEPS
    epochs = steps / (len(store.train) // config.batch_size)
    training = Training(config.replace(epochs=epochs, lr=HARMLESS_LR, min_lr=None), store, device=device)
    try:
        training.train_to(WARM_UP)
        ends = [training.seconds]
        for end in range(WARM_UP + GROUP_STEPS, steps + 1, GROUP_STEPS):
            training.train_to(end)
            ends.append(training.seconds)
        return median(after - before for before, after in pairwise(ends)) / GROUP_STEPS
    finally:
        training.close()
