"""Averaged weights: an average of the latest weights, kept beside those that are trained.

At a constant learning rate they are worth about what a cooldown would make of the weights, at no training cost.
"""

from copy import deepcopy
from typing import TYPE_CHECKING

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from trainable.data.store.loader import Batch

if TYPE_CHECKING:
    from trainable.train.training import Training


class AveragedWeights:
    """A training's averaged weights, which can be judged as the training itself.

    Their horizon grows with the run, so that it need not be tuned to its length. This is the power-function average of
    EDM2 (Karras et al., 2024, "Analyzing and improving the training dynamics of diffusion models"). After step t, the
    average is moved by 1 - (1 - 1 / t)^p towards the weights, with p = 1 / horizon. The weights of step i so have the
    share (i^p - (i - 1)^p) / t^p of it. With p = 10 it looks back over about a tenth of the steps made; p = 1 averages
    all steps alike. The initial weights have no share.

    Args:
        training: its model is copied.
        horizon: share of the steps made, above 0 and at most 1.

    Attributes:
        config: hyperparameters of the training.
        model: student and predictor with the averaged weights, float32; never trained.
        device: where it is.
    """

    def __init__(self, training: "Training", horizon: float) -> None:
        self.config, self.device = training.config, training.device
        self.model = deepcopy(training.model).requires_grad_(False).eval()
        self._training, self._power = training, 1 / horizon
        self._averaged, self._trained = list(self.model.parameters()), list(training.model.parameters())

    def update(self, step: int) -> None:
        """Takes in the weights of the training after an optimiser step; the first one is step 1."""
        average = get_ema_multi_avg_fn((1 - 1 / step) ** self._power)
        average(self._averaged, self._trained, None)

    def autocast(self) -> torch.autocast:
        """Returns the precision that the training's forward passes run in."""
        return self._training.autocast()

    def targets(self, batch: Batch) -> torch.Tensor:
        """Returns a batch's targets in float32; see `Training.targets`."""
        return self._training.targets(batch)
