"""Fixed 3-D sin-cos position embeddings, and the initialisation of V-JEPA's transformers."""

import math

import torch
from torch import nn


def sincos_positions(dim: int, grid: tuple[int, int, int]) -> torch.Tensor:
    """Computes the position embedding of each token: a third of the width for time, row and column each.

    The mean over the grid is taken out. On a grid of few tokens most cosines stay near 1, a constant that drowns the
    content of narrow features.

    Args:
        dim: width of the embedding; any whole number (the last third is cut to fit, as in V-JEPA).
        grid: tokens along time, rows and columns.

    Returns:
        Shape (tokens, dim), float32, ordered time, row, column.
    """
    width = 2 * math.ceil(dim / 6)
    frequencies = 10000.0 ** (-torch.arange(width // 2, dtype=torch.float64) / (width / 2))
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in grid), indexing="ij")
    angles = [axis.reshape(-1, 1) * frequencies for axis in axes]
    embedding = torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=1)[:, :dim]
    return (embedding - embedding.mean(dim=0)).float()


def init_transformer(blocks: nn.ModuleList) -> None:
    """Initialises timm blocks as V-JEPA does.

    Linear weights as in `init_linear`, and the two projections that write to the residual stream of layer l are divided
    by sqrt(2 * l).
    """
    for layer, block in enumerate(blocks, start=1):
        for name, module in block.named_modules():
            if isinstance(module, nn.Linear):
                init_linear(module)
                if name in ("attn.proj", "mlp.fc2"):
                    with torch.no_grad():
                        module.weight.div_(math.sqrt(2 * layer))


def init_linear(module: nn.Linear) -> None:
    """Starts with normal weights cut at two standard deviations, and no bias.

    The standard deviation is V-JEPA's 0.02 at ViT-Base's width of 768, and scales as 1 / sqrt(inputs) elsewhere. With
    0.02 everywhere they starve: a predictor 64 wide needs three times the steps to overfit a batch. A search over the
    width would then be a search over the initialisation.
    """
    std = 0.02 * math.sqrt(768 / module.in_features)
    nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
