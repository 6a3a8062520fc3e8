"""The initialisation of V-JEPA's transformers."""

import math

import torch
from torch import nn


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
