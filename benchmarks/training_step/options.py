"""What can be chosen about a training step: how it is computed, or how much of it is."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from trainable.train.training import Training


def _same(_training: Training) -> None:
    """Changes nothing."""


@dataclass(frozen=True)
class Option:
    """A way to make a step.

    Attributes:
        name: in words.
        changes: of the configuration.
        adapt: changes the training, once it is made.
        around: is entered for all its steps.
        cuda_only: whether it needs CUDA.
        exact: whether it computes the same as without it, but for rounding.
        judged: whether the judge is asked as well; not where another option says the same.
    """

    name: str
    changes: dict[str, Any] = field(default_factory=dict)
    adapt: Callable[[Training], None] = _same
    around: Callable[[], AbstractContextManager[Any]] = nullcontext
    cuda_only: bool = False
    exact: bool = True
    judged: bool = True

    def trained(self, training: Training, step: int) -> None:
        """Trains to a step, as the option has it."""
        with self.around():
            training.train_to(step)


def _optimiser(**how: Any) -> Callable[[Training], None]:
    def adapt(training: Training) -> None:
        ours = training.optimizer
        groups = [{"params": group["params"], "decays": group["decays"]} for group in ours.param_groups]
        betas = ours.param_groups[0]["betas"]
        training.optimizer = torch.optim.AdamW(groups, lr=training.config.lr, betas=betas, **how)

    return adapt


def _cuda_graphs(training: Training) -> None:
    training.gradients.forward = torch.compile(training.model, dynamic=False, mode="reduce-overhead")


def _attention(backend: SDPBackend) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: sdpa_kernel(backend)


def options_for(device: torch.device, batch_size: int, most: int) -> list[Option]:
    """Returns the options that this device has, see `all_options`."""
    options = all_options(device, batch_size, most)
    return [option for option in options if device.type == "cuda" or not option.cuda_only]


def all_options(device: torch.device, batch_size: int, most: int) -> list[Option]:
    """Returns all options, the slowest to measure last, as time may run out before them.

    Args:
        device: where the training runs.
        batch_size: of the training that they are compared with; a quarter, a half, twice and four times are options.
        most: clips that a batch may have.
    """
    precision = "fp32" if device.type == "cuda" else "bf16"
    sizes = [size for size in (batch_size * 4, batch_size * 2, batch_size // 2, batch_size // 4) if 0 < size <= most]
    return [
        Option(f"precision {precision}", {"precision": precision}),
        *(Option(f"predict_share {share}", {"predict_share": share}, exact=False) for share in (0.5, 0.25)),
        *(Option(f"batch {size}", {"batch_size": size}, exact=False, judged=size > batch_size) for size in sizes),
        *(Option(f"micro_batch {size}", {"micro_batch": size}) for size in (batch_size // 4,) if size),
        Option("gradient checkpointing", {"grad_checkpointing": True}),
        Option("averaged weights (ema 0.1)", {"ema": 0.1}, judged=False),
        Option("AdamW foreach", adapt=_optimiser(foreach=True), judged=False),
        Option("AdamW, a loop over the weights", adapt=_optimiser(foreach=False, fused=False)),
        Option("attention: flash only", around=_attention(SDPBackend.FLASH_ATTENTION), judged=False),
        Option("attention: cuDNN only", around=_attention(SDPBackend.CUDNN_ATTENTION), cuda_only=True, judged=False),
        Option("attention: plain", around=_attention(SDPBackend.MATH)),
        Option("torch.compile", {"compile": True}),
        Option("CUDA graphs (torch.compile, reduce-overhead)", {"compile": True}, _cuda_graphs, cuda_only=True),
    ]
