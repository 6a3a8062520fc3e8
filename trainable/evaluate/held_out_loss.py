"""`val_loss`, its standard error, and `val_r2`: errors on the targets of masked tokens of the held-out clips.

The error is the squared one also where a trial trained with another loss or mask ratio.
"""

import math

import torch

from trainable.evaluate.judged import Judged


def val_loss(judged: Judged) -> float:
    """Computes the mean squared error over all clips, masked tokens and dimensions."""
    return float(judged.clip_losses.mean())


def val_loss_se(judged: Judged) -> float:
    """Returns the standard error of `val_loss` over the clips; 0 where there is one clip, or the loss is not finite."""
    losses = judged.clip_losses
    if len(losses) < 2 or not math.isfinite(losses.mean()):
        return 0.0
    return float(losses.std(ddof=1) / len(losses) ** 0.5)


def val_r2(judged: Judged) -> float:
    """Returns 1 - `val_loss` / the error of always predicting the mean of the training targets."""
    baseline: float = judged.on.once("error of the mean", lambda: _error_of_the_mean(judged))
    return 1 - val_loss(judged) / baseline if baseline else 0.0


@torch.no_grad()
def _error_of_the_mean(judged: Judged) -> float:
    """Returns the loss of always predicting the mean of the training targets, per dimension."""
    model, on = judged.model, judged.on
    if on.target == "latents":
        mean = torch.tensor(on.store.teacher.mean, dtype=torch.float32, device=model.device)
    else:
        student = model.model.student
        batches = on.whole["train"].in_order(on.panel.training)
        mean = torch.cat([student.normalise(batch.pixels).mean(dim=1) for batch in batches]).mean(dim=0)
    errors = [(model.targets(batch) - mean).square().mean(dim=(1, 2)) for batch in on.masked.in_order(on.chosen)]
    return torch.cat(errors).double().mean().item()
