"""The predictor: a narrow transformer that fills in the masked tokens, as in V-JEPA."""

from functools import partial
from typing import cast

import torch
from timm.models.vision_transformer import Block
from torch import nn

from trainable.config import TrialConfig
from trainable.data.video.view import View
from trainable.model.hub.video_transformer import sincos_positions
from trainable.model.initialisation import init_linear, init_transformer
from trainable.model.student import Student, run_blocks


class Predictor(nn.Module):
    """Predicts the targets of masked tokens from the features of visible ones.

    Where `context_weight` is above 0 it predicts those of the visible tokens too, from its last layer, by an output of
    their own (V-JEPA 2.1).

    Args:
        config: `predictor_dim`, `predictor_depth`, `predictor_num_heads`, `context_weight` and `grad_checkpointing` are
            used.
        view: geometry of the clips.
        student_dim: width of the features that come in.
        target_dim: width of the targets.
    """

    def __init__(self, config: TrialConfig, view: View, student_dim: int, target_dim: int) -> None:
        super().__init__()
        dim = config.predictor_dim
        norm = partial(nn.LayerNorm, eps=1e-6)
        self.grad_checkpointing = config.grad_checkpointing
        self.embed = nn.Linear(student_dim, dim)
        self.mask_token = nn.Parameter(torch.zeros(dim))
        self.blocks = nn.ModuleList(
            Block(dim, config.predictor_heads, mlp_ratio=4.0, qkv_bias=True, norm_layer=norm)
            for _ in range(config.predictor_depth)
        )
        self.norm = norm(dim)
        self.project = nn.Linear(dim, target_dim)
        init_linear(self.embed)
        init_linear(self.project)
        init_transformer(self.blocks)
        self.project_context = nn.Linear(dim, target_dim) if config.context_weight else None
        if self.project_context is not None:
            init_linear(self.project_context)
        self.register_buffer("positions", sincos_positions(dim, view.grid), persistent=False)

    @torch.no_grad()
    def start_at(self, mean: torch.Tensor) -> None:
        """Starts the predictions at the targets' mean, shape (target_dim,); else the first steps go into learning it.

        It becomes the bias of the outputs, which starts at zero.
        """
        for project in filter(None, (self.project, self.project_context)):
            project.bias.copy_(mean)

    def forward(
        self, features: torch.Tensor, visible: torch.Tensor, masked: torch.Tensor, *, context: bool = False
    ) -> torch.Tensor:
        """Predicts the masked tokens.

        Args:
            features: the student's output, shape (clips, visible tokens, student_dim).
            visible: their token indices, shape (clips, visible tokens).
            masked: token indices to predict, shape (clips, masked tokens).
            context: predict the visible tokens too; only where `context_weight` is above 0.

        Returns:
            Predictions, shape (clips, masked tokens, target_dim); with a context those of the visible tokens behind
            them, in the same dimension.
        """
        positions = cast(torch.Tensor, self.positions)
        seen = self.embed(features) + positions[visible]
        asked = (self.mask_token + positions[masked]).to(seen.dtype)
        x = run_blocks(self.blocks, torch.cat([seen, asked], dim=1), self.grad_checkpointing and self.training)
        predicted = self.project(self.norm(x[:, seen.shape[1] :]))
        if not context:
            return cast(torch.Tensor, predicted)
        output = cast(nn.Linear, self.project_context)
        return torch.cat([predicted, output(self.norm(x[:, : seen.shape[1]]))], dim=1)


class VJepa(nn.Module):
    """Student and predictor together: what a trial trains.

    Args:
        config: the trial's hyperparameters.
        view: geometry of the clips.
        target_dim: width of the targets.
    """

    def __init__(self, config: TrialConfig, view: View, target_dim: int) -> None:
        super().__init__()
        self.student = Student(config, view)
        self.predictor = Predictor(config, view, self.student.dim, target_dim)

    def forward(
        self, pixels: torch.Tensor, visible: torch.Tensor, masked: torch.Tensor, *, context: bool = False
    ) -> torch.Tensor:
        """Predicts tokens, shape (clips, tokens, target_dim), from visible pixels; see the two parts."""
        features = self.student(pixels, visible)
        return cast(torch.Tensor, self.predictor(features, visible, masked, context=context))
