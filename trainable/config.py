"""`TrialConfig`: every hyperparameter of one trial, typed, documented, validated.

Brackets state the origin of a default. *seed* is the best configuration found by hand (SALT-VLA log, ViT-Base on
Something-Something v2); *V-JEPA* is its published code. Imports neither torch nor timm, so that a search can validate
thousands of configurations at once; what only timm can tell is checked by `trainable.model.student`.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from typing import Any, Literal, get_type_hints

from trainable.data.video.view import View
from trainable.errors import ConfigError
from trainable.fields import as_type, check_names
from trainable.registry import COOLDOWNS, LOSSES, LR_SCHEDULES, MASKINGS, Registry

HEAD_WIDTH = 64
WIDEST = 2**16  # layers and heads beyond these bounds are slips of the finger that no machine could build
DEEPEST = 2**10
LARGEST_BATCH = 2**20

# Widths, and the heads that must divide them.
HEADS = (("predictor_dim", "predictor_num_heads"), ("student_dim", "student_heads"))

# Fields that are checked against each other, here or by timm; all others are right or wrong by themselves.
CHECKED_TOGETHER = (*HEADS, ("student", "student_dim", "student_heads"), ("lr", "min_lr"))

# Fields that name something, and what they may name.
NAMED: Mapping[str, Registry[Any]] = {
    "masking": MASKINGS,
    "loss": LOSSES,
    "lr_schedule": LR_SCHEDULES,
    "cooldown_shape": COOLDOWNS,
}

Precision = Literal["auto", "bf16", "fp32"]


@dataclass(frozen=True)
class TrialConfig:
    """The hyperparameters of one trial.

    Attributes:
        student: name of a plain timm Vision Transformer ("vit_base_patch16_224": seed). The patch size and the number
            of frames come from the clip store, not from this name.
        student_dim: width of the student; None keeps timm's.
        student_depth: layers of the student; None keeps timm's.
        student_heads: attention heads of the student; None keeps timm's, or 64 a head where `student_dim` is given.
        predictor_dim: width of the predictor (384: seed, V-JEPA).
        predictor_depth: layers of the predictor (12: seed, V-JEPA).
        predictor_num_heads: attention heads of the predictor; None follows from the width, 64 a head (seed: 384 has 6).
        mask_ratio: share of the tokens hidden from the student and predicted (0.75: seed).
        masking: how they are chosen, a name in `trainable.registry.MASKINGS` ("multiblock": seed; V-JEPA's own
            "multiblock_both" shows each clip under two masks in a step).
        predict_share: share of the masked tokens that are predicted, drawn anew in each epoch; the held-out loss is of
            all (1: seed, V-JEPA).
        loss: training loss on the teacher's latents, a name in `trainable.registry.LOSSES` ("mse": seed; V-JEPA has
            "l1").
        context_weight: weight of the same loss on the visible tokens, each by 1 / sqrt(distance to the nearest masked
            token). It is 0 while the learning rate warms up, and rises linearly over as many steps. 0 leaves it out
            (0: seed, V-JEPA; V-JEPA 2.1 has 0.5, from 15,000 to 30,000 steps).
        lr: peak learning rate (3e-4: seed).
        lr_schedule: course of learning rate and weight decay, a name in `trainable.registry.LR_SCHEDULES`. "cosine"
            stretches over the run (seed, V-JEPA). "wsd" keeps both from the warm-up to the cooldown (V-JEPA 2); a run
            before its cooldown is the beginning of any longer one. `min_lr`, `warmup` and `weight_decay_end` have no
            effect then.
        min_lr: learning rate at the end of a cosine; None is a tenth of `lr` (3e-5: seed).
        warmup: share of the run in which the rate rises linearly from 0 (500 of 15,834 steps: seed).
        warmup_steps: the same in steps, whatever the length of the run. None is the share `warmup` of a cosine, and
            2 / (1 - `beta2`) steps of "wsd" (Ma and Yarats, 2021).
        cooldown: share of the run, at its end, in which the rate of "wsd" falls to 0 (0.2: Hägele et al., 2024). A
            trial of a search never cools down; its final run does.
        cooldown_shape: how it falls, a name in `trainable.registry.COOLDOWNS`.
        weight_decay: AdamW weight decay at the start of the run (0.04: seed, V-JEPA).
        weight_decay_end: the same at the end, along a cosine (0.4: seed, V-JEPA).
        beta1: AdamW's first beta (0.9: seed).
        beta2: AdamW's second beta (0.95: seed).
        grad_clip: largest gradient norm; None does not clip (0.02: seed).
        ema: share of the steps made that averaged weights look back over (Karras et al., 2024); where it is above 0,
            these are judged and saved in the place of the trained ones. 0 keeps none (seed).
        batch_size: clips a step (32: seed).
        epochs: passes over the training clips, fractions allowed, and what the schedules stretch over (3: seed).
        micro_batch: clips of a batch that go through the model at once; None is all of them (None: seed). A step is
            then made with the gradients of the whole batch, which are the same but for rounding.
        auto_batch: halve `micro_batch` where the GPU's memory does not suffice, instead of ending the trial (False:
            seed). A training that several GPUs share ends.
        grad_checkpointing: recompute activations in the backward pass to save memory (False: seed).
        precision: "bf16" runs under autocast with float32 master weights, "fp32" does not, "auto" is bf16 on CUDA and
            fp32 elsewhere. The seed trained bfloat16 parameters, which lost small updates.
        compile: compile student and predictor with torch.compile.
        seed: seed of weights, masks and data order; trials of one search share it.

    Raises:
        ConfigError: a field is of the wrong kind, out of range, or does not fit another one.
    """

    student: str = "vit_base_patch16_224"
    student_dim: int | None = None
    student_depth: int | None = None
    student_heads: int | None = None
    predictor_dim: int = 384
    predictor_depth: int = 12
    predictor_num_heads: int | None = None
    mask_ratio: float = 0.75
    masking: str = "multiblock"
    predict_share: float = 1.0
    loss: str = "mse"
    context_weight: float = 0.0
    lr: float = 3e-4
    lr_schedule: str = "cosine"
    min_lr: float | None = None
    warmup: float = 500 / 15834
    warmup_steps: int | None = None
    cooldown: float = 0.2
    cooldown_shape: str = "1-sqrt"
    weight_decay: float = 0.04
    weight_decay_end: float = 0.4
    beta1: float = 0.9
    beta2: float = 0.95
    grad_clip: float | None = 0.02
    ema: float = 0.0
    batch_size: int = 32
    epochs: int | float = 3
    micro_batch: int | None = None
    auto_batch: bool = False
    grad_checkpointing: bool = False
    precision: Precision = "auto"
    compile: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, registry in NAMED.items():
            registry.check(getattr(self, name), name)
        for name, hint in _hints().items():
            object.__setattr__(self, name, as_type(name, getattr(self, name), hint))
        self._check_ranges()
        self._check_heads()
        if self.min_lr is not None and self.min_lr > self.lr:
            raise ConfigError("min_lr", self.min_lr, f"must not be above lr = {self.lr}")

    def _check_ranges(self) -> None:
        for name, most in MOST.items():
            self._require(name, lambda v: v >= 1, "must be at least 1")
            self._require(name, lambda v, most=most: v <= most, f"must be at most {most}")
        for name in ("lr", "grad_clip", "epochs"):
            self._require(name, lambda v: 0 < v < float("inf"), "must be above 0 and finite")
        for name in ("min_lr", "weight_decay", "weight_decay_end", "context_weight"):
            self._require(name, lambda v: 0 <= v < float("inf"), "must be at least 0 and finite")
        for name in ("warmup", "cooldown", "beta1", "beta2"):
            self._require(name, lambda v: 0 <= v < 1, "must be at least 0 and below 1")
        self._require("mask_ratio", lambda v: 0 < v < 1, "must be between 0 and 1")
        self._require("predict_share", lambda v: 0 < v <= 1, "must be above 0 and at most 1")
        self._require("ema", lambda v: 0 <= v <= 1, "must be at least 0 and at most 1")
        self._require("warmup_steps", lambda v: 0 <= v < 2**53, "must be at least 0 and below 2^53")
        self._require("seed", lambda v: 0 <= v < 2**63, "must be at least 0 and below 2^63")

    def _require(self, name: str, holds: Any, otherwise: str) -> None:
        value = getattr(self, name)
        if value is not None and not holds(value):
            raise ConfigError(name, value, otherwise)

    def _check_heads(self) -> None:
        for dim_name, heads_name in HEADS:
            dim, heads = getattr(self, dim_name), getattr(self, heads_name)
            if dim is None:
                continue
            if heads is None and dim % HEAD_WIDTH:
                words = f"{_divisible(dim, HEAD_WIDTH, f'{HEAD_WIDTH} (a head)')}, or give {heads_name}"
                raise ConfigError(dim_name, dim, f"{words} = {_fitting_heads(dim)}")
            if heads is not None and dim % heads:
                raise ConfigError(dim_name, dim, _divisible(dim, heads, f"{heads_name} = {heads}"))

    @property
    def predictor_heads(self) -> int:
        """Attention heads of the predictor, given or following from its width."""
        return self.predictor_num_heads or self.predictor_dim // HEAD_WIDTH

    @property
    def floor_lr(self) -> float:
        """Learning rate at the end of the run, given or following from `lr`."""
        return self.lr / 10 if self.min_lr is None else self.min_lr

    def check_data(self, view: View, training_clips: int) -> None:
        """Checks what can only be told with the data at hand.

        Raises:
            ConfigError: the mask would hide all tokens or none, or a batch needs more clips than there are.
        """
        view.check_mask_ratio(self.mask_ratio)
        if self.batch_size > training_clips:
            raise ConfigError("batch_size", self.batch_size, f"must not exceed the {training_clips} training clips")

    def replace(self, **changes: Any) -> "TrialConfig":
        """Returns this configuration with some fields changed.

        Raises:
            ConfigError: an unknown field, or one that does not fit.
        """
        check_names(changes, FIELD_NAMES)
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Returns all fields as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrialConfig":
        """Returns the configuration with `values`, and defaults for the rest.

        Raises:
            ConfigError: an unknown field, or one that does not fit.
        """
        check_names(values, FIELD_NAMES)
        return cls(**values)


FIELD_NAMES = tuple(field.name for field in fields(TrialConfig))

# Whole numbers from 1 on, and the largest.
MOST = {
    "student_dim": WIDEST,
    "student_depth": DEEPEST,
    "student_heads": WIDEST,
    "predictor_dim": WIDEST,
    "predictor_depth": DEEPEST,
    "predictor_num_heads": WIDEST,
    "batch_size": LARGEST_BATCH,
    "micro_batch": LARGEST_BATCH,
}


@cache
def _hints() -> dict[str, Any]:
    """Returns the types of the fields; looking them up takes as long as all checks together."""
    return get_type_hints(TrialConfig)


def _divisible(width: int, heads: int, named: str) -> str:
    """Says what a width that `heads` does not divide should be."""
    nearby = [number * heads for number in (width // heads, width // heads + 1) if number]
    return f"must be divisible by {named}, such as {' or '.join(map(str, nearby))}"


def _fitting_heads(width: int) -> int:
    """Returns the number of heads that makes them closest to their usual width."""
    divisors = (number for number in range(1, width + 1) if width % number == 0)
    return min(divisors, key=lambda heads: abs(math.log(width / heads / HEAD_WIDTH)))
