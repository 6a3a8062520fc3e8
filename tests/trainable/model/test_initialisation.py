"""Weights start as V-JEPA's do."""

import math
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import Block
from torch import nn

from trainable.model.initialisation import init_linear, init_transformer


@pytest.mark.parametrize(("inputs", "std"), [(768, 0.02), (192, 0.04), (3072, 0.01)])
def test_weights_start_small_and_cut_off(inputs: int, std: float) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(inputs, 400)
    init_linear(layer)
    assert layer.weight.std().item() == pytest.approx(0.88 * std, rel=0.02)  # of a normal cut at two of its deviations
    assert layer.weight.abs().max() <= 2 * std
    assert not layer.bias.any()


def test_what_writes_to_the_residual_stream_starts_smaller_in_deeper_layers() -> None:
    torch.manual_seed(0)
    blocks: list[Any] = [Block(128, 2) for _ in range(4)]
    init_transformer(nn.ModuleList(blocks))
    for layer, block in enumerate(blocks, start=1):
        for module, inputs in ((block.attn.proj, 128), (block.mlp.fc2, 512)):
            expected = 0.88 * 0.02 * math.sqrt(768 / inputs) / math.sqrt(2 * layer)
            assert module.weight.std().item() == pytest.approx(expected, rel=0.03)
        assert block.attn.qkv.weight.std().item() == pytest.approx(0.88 * 0.02 * math.sqrt(6), rel=0.03)
    assert not torch.equal(blocks[0].attn.qkv.weight, blocks[1].attn.qkv.weight)
