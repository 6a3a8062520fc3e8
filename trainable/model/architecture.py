"""From timm's blocks to the sizes by which `VideoTransformer` builds the same ones without timm."""

from typing import Any, Final

import torch
from timm.layers import Attention, GELUTanh, GluMlp, LayerNorm, LayerScale, Mlp, QuickGELU
from timm.models.vision_transformer import Block
from torch import nn

from trainable.data.video.view import View
from trainable.model.hub import video_transformer

ACTIVATIONS: Final[dict[type[nn.Module], str]] = {
    nn.GELU: "gelu",
    GELUTanh: "gelu_pytorch_tanh",
    QuickGELU: "quick_gelu",
    nn.SiLU: "silu",
}
NOTHING = View(frames=1, size=2, patch=1, tubelet=1)  # where the blocks alone are asked about


def architecture_of(blocks: nn.ModuleList, view: View = NOTHING) -> video_transformer.Architecture:
    """Describes a student.

    Args:
        blocks: timm's, all alike.
        view: geometry of its clips.

    Raises:
        ValueError: a block is none of those that `VideoTransformer` has; names the part.
    """
    block: Any = blocks[0]
    _check_parts(block)
    architecture = video_transformer.Architecture(
        image_size=view.size,
        num_frames=view.frames,
        patch_size=view.patch,
        tubelet_size=view.tubelet,
        hidden_size=block.attn.qkv.in_features,
        num_hidden_layers=len(blocks),
        num_attention_heads=block.attn.num_heads,
        intermediate_size=block.mlp.fc1.out_features,
        hidden_act=ACTIVATIONS[type(block.mlp.act)],
        layer_norm_eps=block.norm1.eps,
        qkv_bias=block.attn.qkv.bias is not None,
        layer_scale=isinstance(block.ls1, LayerScale),
        gated_mlp=isinstance(block.mlp, GluMlp),
    )
    with torch.device("meta"):
        ours = video_transformer.Block(architecture)
    theirs, own = ({name: tensor.shape for name, tensor in made.state_dict().items()} for made in (block, ours))
    if odd := sorted(name for name in theirs.keys() | own.keys() if theirs.get(name) != own.get(name)):
        raise ValueError(f"its blocks have another {odd[0]}")
    return architecture


def _check_parts(block: Any) -> None:
    """Checks the types of a block's parts: their parameters alone do not tell what they compute."""
    attention, mlp = getattr(block, "attn", None), getattr(block, "mlp", None)
    parts: list[tuple[Any, tuple[type, ...]]] = [
        (block, (Block,)),
        (attention, (Attention,)),
        (mlp, (Mlp, GluMlp)),
        (getattr(mlp, "act", None), tuple(ACTIVATIONS)),
        *((getattr(block, name, None), (LayerNorm, nn.LayerNorm)) for name in ("norm1", "norm2")),
        *((getattr(block, name, None), (LayerScale, nn.Identity)) for name in ("ls1", "ls2")),
        *((getattr(attention, name, None), (nn.Identity,)) for name in ("q_norm", "k_norm", "norm")),
        (getattr(mlp, "norm", None), (nn.Identity,)),
        (getattr(attention, "gate", None), (type(None),)),
    ]
    if wrong := next((part for part, known in parts if type(part) not in known), None):
        raise ValueError(f"its blocks have a {type(wrong).__name__}")
    if isinstance(mlp, GluMlp) and mlp.gate_last:
        raise ValueError("its blocks gate by the last half of the MLP")
