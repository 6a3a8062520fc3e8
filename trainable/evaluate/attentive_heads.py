"""Attentive probes, many at once: for each V-JEPA's attentive pooler and a linear layer, in batched parameters.

Each probe has one learned query. A block of cross-attention and an MLP, both with a residual, takes it over a clip's
tokens. A linear layer tells the class (Bardes et al., 2024; `AttentiveClassifier` in facebookresearch/jepa).

With one query for all clips, attention may be written in another order. The key's matrix is applied to the query, and
the value's to the tokens' weighted mean. The function is the same, and a token costs 2 x heads products of its width in
place of 2 x width. A bias of the keys would move all tokens alike, and is left out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812

from trainable import heartbeat
from trainable.config import HEAD_WIDTH

EPOCHS: Final = 20  # V-JEPA
BATCH_SIZE: Final = 16
MLP_RATIO: Final = 4  # V-JEPA
INIT_STD: Final = 0.02  # V-JEPA
LEAST_VARIANCE: Final = 1e-6  # of a feature that is scaled to 1
MOST_BYTES: Final = 4 * 2**30  # of weights, gradients and Adam's two moments of the probes that are trained at once
BYTES: Final = 16  # of these, a weight

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Setting:
    """What a probe is trained with."""

    lr: float
    weight_decay: float


class AttentiveProbes:
    """Some probes a part, all with the same initial weights; those of a part see the same clips.

    Args:
        parts: how many parts.
        each: probes a part.
        width: of the tokens.
        classes: that they tell apart.
        seed: of the initial weights.
        device: where they are.

    Attributes:
        flat: all weights, shape (probes, weights of a probe), part by part; what is trained.
    """

    def __init__(self, parts: int, each: int, width: int, classes: int, seed: int, device: torch.device) -> None:
        self._parts, self._each, self._heads = parts, each, heads_of(width)
        first = _first_weights(width, self._heads, classes, torch.Generator().manual_seed(seed))
        self._shapes = {name: weight.shape for name, weight in first.items()}
        joined = torch.cat([weight.flatten() for weight in first.values()]).to(device)
        self.flat = joined.repeat(parts * each, 1).requires_grad_()

    def weights(self) -> dict[str, torch.Tensor]:
        """Returns views of all weights, by name; the first dimension is the probe."""
        parts = self.flat.split([shape.numel() for shape in self._shapes.values()], dim=1)
        return {name: part.unflatten(1, shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tells classes.

        Args:
            tokens: normalised, float32, shape (parts, clips, tokens, width).

        Returns:
            Logits, shape (probes, clips, classes).
        """
        w, width = self.weights(), tokens.shape[-1]
        query = torch.baddbmm(w["q_bias"][:, None], w["query"][:, None], w["q"]).unflatten(2, (self._heads, -1))
        scale = query.shape[-1] ** -0.5
        asked = torch.einsum("pnhe,phed->phd", query * scale, w["k"]) * w["norm1"][:, None]
        asked = asked.reshape(self._parts, -1, width).transpose(1, 2)
        attention = (tokens.flatten(1, 2) @ asked).unflatten(1, tokens.shape[1:3]).softmax(dim=2)
        seen = (attention.transpose(2, 3) @ tokens).unflatten(2, (self._each, self._heads))
        seen = seen.permute(0, 2, 3, 1, 4).flatten(0, 1)  # probes, heads, clips, width
        seen = seen * w["norm1"][:, None, None] + w["norm1_bias"][:, None, None]
        values = (seen @ w["v"]).transpose(1, 2).flatten(2) + w["v_bias"][:, None]
        x = w["query"][:, None] + torch.baddbmm(w["proj_bias"][:, None], values, w["proj"])
        hidden = F.layer_norm(x, (width,)) * w["norm2"][:, None] + w["norm2_bias"][:, None]
        hidden = F.gelu(torch.baddbmm(w["fc1_bias"][:, None], hidden, w["fc1"]))
        x = x + torch.baddbmm(w["fc2_bias"][:, None], hidden, w["fc2"])
        return torch.baddbmm(w["linear_bias"][:, None], x, w["linear"])

    @torch.no_grad()
    def standardise(self, tokens: torch.Tensor, fitted: Sequence[Ints]) -> None:
        """Sets the first layer norm so that each feature has mean 0 and variance 1 over the tokens that are fitted to.

        It is where training begins: features with a large common part would else hide the others for many steps.

        Args:
            tokens: normalised, shape (clips, tokens, width).
            fitted: which clips each part is fitted to.
        """
        moments = torch.cat(
            [torch.stack([some.mean(dim=1), some.square().mean(dim=1)], dim=1) for some in _batches(tokens)]
        )
        weights = self.weights()
        for part, clips in enumerate(fitted):
            mean, square = moments[torch.from_numpy(clips).to(moments.device)].mean(dim=0)
            scale = (square - mean.square()).clamp(min=LEAST_VARIANCE).rsqrt()
            probes = slice(part * self._each, (part + 1) * self._each)
            weights["norm1"][probes] = scale
            weights["norm1_bias"][probes] = -mean * scale


def heads_of(width: int) -> int:
    """Returns the heads of the attention: about as many as there are 64 in the width, and a divisor of it."""
    return next(heads for heads in range(max(1, width // HEAD_WIDTH), 0, -1) if width % heads == 0)


def fit_and_tell(
    tokens: torch.Tensor,
    labels: torch.Tensor,
    fitted: Sequence[Ints],
    settings: Sequence[Setting],
    *,
    seed: int,
    least_steps: int,
) -> list[torch.Tensor]:
    """Trains probes for each part of the clips, and asks each about all clips.

    Parts are trained side by side, as many as fit into `MOST_BYTES`.

    Args:
        tokens: normalised features, shape (clips, tokens, width).
        labels: class indices from 0, shape (clips,), on the device of the tokens.
        fitted: which clips each part's probes are fitted to, at least one.
        settings: of the probes of each part.
        seed: of the initial weights and of the order of the clips.
        least_steps: that they are trained for, where 20 epochs are fewer.

    Returns:
        Of each part, logits of shape (probes, clips, classes).
    """
    width, classes = tokens.shape[-1], int(labels.max()) + 1
    first = _first_weights(width, heads_of(width), classes, torch.Generator())
    weights = sum(each.numel() for each in first.values()) * len(settings)
    at_once = max(1, MOST_BYTES // (BYTES * weights))
    orders = _orders(fitted, seed, least_steps)
    logits: list[torch.Tensor] = []
    for start in range(0, len(fitted), at_once):
        parts = fitted[start : start + at_once]
        probes = AttentiveProbes(len(parts), len(settings), width, classes, seed, tokens.device)
        probes.standardise(tokens, parts)
        _train(probes, tokens, labels, orders[:, start : start + at_once], settings)
        with torch.no_grad():
            told = [probes(batch.expand(len(parts), *batch.shape)) for batch in _batches(tokens)]
        logits += torch.cat(told, dim=1).unflatten(0, (len(parts), -1))
    return logits


def _orders(fitted: Sequence[Ints], seed: int, least_steps: int) -> Ints:
    """Draws the batches of each part, from its clips alone: as many clips an epoch as the smallest part has.

    Returns:
        Which clips, shape (steps, parts, clips).
    """
    least = min(map(len, fitted))
    size = min(BATCH_SIZE, least)
    steps = least // size
    epochs = max(EPOCHS, math.ceil(least_steps / steps))
    randoms = [np.random.default_rng([seed, part]) for part in range(len(fitted))]
    orders = [
        np.stack([random.permutation(clips)[: steps * size] for random, clips in zip(randoms, fitted, strict=True)])
        for _ in range(epochs)
    ]
    return np.concatenate([order.reshape(len(fitted), steps, size).swapaxes(0, 1) for order in orders])


def _train(
    probes: AttentiveProbes, tokens: torch.Tensor, labels: torch.Tensor, orders: Ints, settings: Sequence[Setting]
) -> None:
    """Trains with AdamW, whose learning rate falls to 0 along a cosine."""
    optimizer = _optimizer(probes.flat, [*settings] * orders.shape[1])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(orders))
    for batch in torch.from_numpy(orders).to(tokens.device):
        heartbeat.beat()
        logits = probes(tokens[batch].float())
        expected = labels[batch].repeat_interleave(len(settings), dim=0)
        # A mean for each probe; their sum leaves the probes apart.
        loss = F.cross_entropy(logits.flatten(0, 1), expected.flatten()) * len(logits)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        schedule.step()


def _optimizer(flat: torch.Tensor, settings: Sequence[Setting]) -> torch.optim.AdamW:
    """Returns AdamW over views of the probes' weights and of their gradients: a group for each probe's setting."""
    flat.grad = torch.zeros_like(flat)
    groups: list[dict[str, Any]] = []
    for weights, gradient, setting in zip(flat.detach(), flat.grad, settings, strict=True):
        probe = torch.nn.Parameter(weights)
        probe.grad = gradient
        groups.append({"params": [probe], "lr": setting.lr, "weight_decay": setting.weight_decay})
    return torch.optim.AdamW(groups, fused=True)


def _batches(tokens: torch.Tensor) -> Sequence[torch.Tensor]:
    return [some.float() for some in tokens.split(BATCH_SIZE)]


def _first_weights(width: int, heads: int, classes: int, random: torch.Generator) -> dict[str, torch.Tensor]:
    """Draws the weights of a probe as V-JEPA does; matrices are (in, out), those of keys (heads, head width, in)."""

    def normal(*shape: int) -> torch.Tensor:
        return torch.nn.init.trunc_normal_(torch.empty(shape), std=INIT_STD, generator=random)

    hidden, part, bound = MLP_RATIO * width, width // heads, width**-0.5
    return {
        "query": normal(width),
        "norm1": torch.ones(width),
        "norm1_bias": torch.zeros(width),
        "q": normal(width, width),
        "q_bias": torch.zeros(width),
        "k": normal(heads, part, width),
        "v": normal(heads, width, part),
        "v_bias": torch.zeros(width),
        "proj": normal(width, width) / math.sqrt(2),
        "proj_bias": torch.zeros(width),
        "norm2": torch.ones(width),
        "norm2_bias": torch.zeros(width),
        "fc1": normal(width, hidden),
        "fc1_bias": torch.zeros(hidden),
        "fc2": normal(hidden, width) / math.sqrt(2),
        "fc2_bias": torch.zeros(width),
        "linear": torch.empty(width, classes).uniform_(-bound, bound, generator=random),
        "linear_bias": torch.empty(classes).uniform_(-bound, bound, generator=random),
    }
