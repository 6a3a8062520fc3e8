"""Training losses: of predictions and targets, both float32 and of one shape, the error of each value in this shape.

The training takes their mean, weighted where it asks for visible tokens.

Another one is a function like these and a line in `trainable.registry`. What trials are judged by is another matter,
see `trainable.evaluate`.
"""

import torch
import torch.nn.functional as F  # noqa: N812


def mse(prediction: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Computes squared errors."""
    return F.mse_loss(prediction, targets, reduction="none")


def l1(prediction: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Computes absolute errors (V-JEPA)."""
    return F.l1_loss(prediction, targets, reduction="none")


def smooth_l1(prediction: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Huber's loss: squared below an error of 1, absolute above."""
    return F.smooth_l1_loss(prediction, targets, reduction="none")
