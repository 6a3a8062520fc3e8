"""Positions tell every token from every other; weights start as V-JEPA's do."""

import math
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import Block
from torch import nn

from trainable.model.positions import init_linear, init_transformer, sincos_positions


@pytest.mark.parametrize("dim", [64, 192, 384, 768, 100])
def test_every_token_has_its_own_position(dim: int) -> None:
    positions = sincos_positions(dim, (8, 14, 14))
    assert positions.shape == (8 * 14 * 14, dim)
    assert positions.dtype == torch.float32
    nearest = torch.cdist(positions, positions) + torch.eye(len(positions)) * 1e6
    assert nearest.min() > 0.1


def test_positions_are_ordered_time_row_column() -> None:
    width = 22  # of 64, for each axis
    grid = sincos_positions(64, (3, 4, 5)).reshape(3, 4, 5, 64)
    time, row, column = grid[..., :width], grid[..., width : 2 * width], grid[..., 2 * width :]
    assert (time == time[:, :1, :1]).all()
    assert (row == row[:1, :, :1]).all()
    assert (column == column[:1, :1, :]).all()
    step = (time[2] - time[0])[0, 0]
    torch.testing.assert_close(step[:: width // 2], torch.tensor([math.sin(2), math.cos(2) - 1]))
    torch.testing.assert_close(step, (row[:, 2] - row[:, 0])[0, 0])  # the axes count alike


@pytest.mark.parametrize("grid", [(8, 14, 14), (2, 4, 4)])
def test_positions_add_nothing_that_all_tokens_share(grid: tuple[int, int, int]) -> None:
    assert sincos_positions(192, grid).mean(dim=0).abs().max() < 1e-6


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
