"""The same training as a plain script has it, to compare ours with: the same model, masks, loss and schedule.

The student is timm's Vision Transformer: a 3-D convolution embeds the whole clip, and visible tokens are gathered. The
predictor is PyTorch's `TransformerEncoder`. Clips go to the device as float32 video, latents whole. AdamW and clipping
are PyTorch's, called as its manual does.
"""

import math
from collections.abc import Iterator
from typing import cast

import numpy as np
import timm
import torch
from torch import nn

from trainable.masking.masks import Masks
from trainable.model.hub.video_transformer import IMAGENET_MEAN, IMAGENET_STD
from trainable.registry import LOSSES, LR_SCHEDULES
from trainable.train.training import Training

Arrays = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]

# Parameters of a block of timm's, as the layers of PyTorch's encoder call them.
LAYER_NAMES = {
    "norm1": "norm1",
    "attn.qkv.": "self_attn.in_proj_",
    "attn.proj": "self_attn.out_proj",
    "norm2": "norm2",
    "mlp.fc1": "linear1",
    "mlp.fc2": "linear2",
}


class PlainVJepa(nn.Module):
    """Student and predictor of a training of ours, with a copy of its weights.

    Args:
        training: whose model it has.
    """

    def __init__(self, training: Training) -> None:
        super().__init__()
        ours, view, config = training.model, training.store.view, training.config
        vit = timm.create_model(config.student, pretrained=False, num_classes=0, **_sizes(training))
        self.blocks, self.norm = vit.blocks, nn.LayerNorm(ours.student.dim, eps=1e-6)
        size = (view.tubelet, view.patch, view.patch)
        self.patch_embed = nn.Conv3d(3, ours.student.dim, size, stride=size)
        self.embed = nn.Linear(ours.student.dim, config.predictor_dim)
        self.mask_token = nn.Parameter(torch.zeros(config.predictor_dim))
        layer = nn.TransformerEncoderLayer(
            config.predictor_dim, config.predictor_heads, 4 * config.predictor_dim, dropout=0.0, activation="gelu",
            layer_norm_eps=1e-6, batch_first=True, norm_first=True,
        )  # fmt: skip
        final = nn.LayerNorm(config.predictor_dim, eps=1e-6)
        self.predictor = nn.TransformerEncoder(layer, config.predictor_depth, norm=final, enable_nested_tensor=False)
        self.project = nn.Linear(config.predictor_dim, training.target_dim)
        self.register_buffer("student_positions", cast(torch.Tensor, ours.student.positions).clone())
        self.register_buffer("predictor_positions", cast(torch.Tensor, ours.predictor.positions).clone())
        self._copy(training)

    def _copy(self, training: Training) -> None:
        view, weights = training.store.view, dict(training.model.state_dict())
        patches = weights.pop("student.embed.weight").unflatten(1, (view.tubelet, view.patch, view.patch, 3))
        copied = {"patch_embed.weight": patches.permute(0, 4, 1, 2, 3), "student_positions": self.student_positions,
                  "predictor_positions": self.predictor_positions}  # fmt: skip
        for name, weight in weights.items():
            part, _, rest = name.partition(".")
            if part == "student":
                rest = rest.replace("embed.bias", "patch_embed.bias")
            elif rest.startswith("blocks."):
                rest = rest.replace("blocks.", "predictor.layers.")
                for timms, theirs in LAYER_NAMES.items():
                    rest = rest.replace(timms, theirs)
            elif rest.startswith("norm."):
                rest = f"predictor.{rest}"
            copied[rest] = weight
        self.load_state_dict(copied)

    def forward(self, video: torch.Tensor, visible: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
        """Predicts the masked tokens.

        Args:
            video: normalised, float32, shape (clips, 3, frames, size, size).
            visible: token indices, shape (clips, visible tokens).
            masked: token indices, shape (clips, masked tokens).

        Returns:
            Predictions, shape (clips, masked tokens, width of the targets).
        """
        x = self.patch_embed(video).flatten(2).transpose(1, 2) + self.student_positions
        features = self.norm(self.blocks(_gather(x, visible)))
        positions = cast(torch.Tensor, self.predictor_positions)
        seen = self.embed(features) + positions[visible]
        asked = (self.mask_token + positions[masked]).to(seen.dtype)
        x = self.predictor(torch.cat([seen, asked], dim=1))
        return cast(torch.Tensor, self.project(x[:, seen.shape[1] :]))


class PlainTraining:
    """Trains the same model on the same batches in a plain loop.

    Args:
        training: a training of ours that has made no step yet.
        free_data: keep the first batch on the device, so that data cost nothing.

    Attributes:
        losses: of the steps made, on the device.
    """

    def __init__(self, training: Training, *, free_data: bool = False) -> None:
        self._training, self.device, self.config = training, training.device, training.config
        self.model = PlainVJepa(training).to(self.device)
        matrices = [parameter for parameter in self.model.parameters() if parameter.ndim >= 2]
        others = [parameter for parameter in self.model.parameters() if parameter.ndim < 2]
        groups = [{"params": matrices, "decays": True}, {"params": others, "decays": False}]
        self.optimizer = torch.optim.AdamW(groups, lr=self.config.lr, betas=(self.config.beta1, self.config.beta2))
        self._loss, self._rates = LOSSES[self.config.loss], LR_SCHEDULES[self.config.lr_schedule]
        self._batches = self._kept() if free_data else self._read()
        self.step = 0
        self.losses: list[torch.Tensor] = []

    def train(self, steps: int) -> None:
        """Makes so many steps and waits for the device."""
        for _ in range(steps):
            self._train_step(*next(self._batches))
        synchronize(self.device)

    def _train_step(
        self, video: torch.Tensor, latents: torch.Tensor, visible: torch.Tensor, masked: torch.Tensor
    ) -> None:
        self.step += 1
        lr, decay = self._rates(self.config, self.step, self._training.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"], group["weight_decay"] = lr, decay if group["decays"] else 0.0
        self.optimizer.zero_grad()
        with self._training.autocast():
            prediction = self.model(video, visible, masked)
        loss = self._loss(prediction.float(), _gather(latents, masked)).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip or math.inf)
        self.optimizer.step()
        self.losses.append(loss.detach())

    def _read(self) -> Iterator[Arrays]:
        """Reads the batches that our loader serves, clip by clip; each clip has one mask."""
        store, config, epoch = self._training.store, self.config, 0
        masks = Masks(store.view, config.masking, config.mask_ratio, config.seed)
        mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        while True:
            order = np.random.Generator(np.random.Philox(key=[config.seed, epoch])).permutation(len(store.train))
            for start in range(0, len(order) - config.batch_size + 1, config.batch_size):
                group = order[start : start + config.batch_size]
                frames = np.stack([store.view.to_frames(store.pixels(store.train, clip)) for clip in group])
                video = (torch.from_numpy(frames).permute(0, 4, 1, 2, 3).float() / 255 - mean) / std
                latents = torch.from_numpy(np.stack([store.latents(store.train, clip) for clip in group])).float()
                mask = masks.draw(epoch, store.train.keys[group])
                arrays = (video, latents, *(torch.from_numpy(index[:, 0]) for index in mask))
                yield cast(Arrays, tuple(array.to(self.device) for array in arrays))
            epoch += 1

    def _kept(self) -> Iterator[Arrays]:
        batch = next(self._read())
        while True:
            yield batch


def synchronize(device: torch.device) -> None:
    """Waits until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _gather(tokens: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    return torch.gather(tokens, 1, index[..., None].expand(-1, -1, tokens.shape[-1]))


def _sizes(training: Training) -> dict[str, int]:
    blocks = training.model.student.blocks
    attention = cast(nn.Module, blocks[0].attn)
    return {
        "embed_dim": training.model.student.dim,
        "depth": len(blocks),
        "num_heads": cast(int, attention.num_heads),
    }
