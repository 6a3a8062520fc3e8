"""The configuration of a `SaltVideoModel`, for transformers.

This file is part of the package `salt_tune`, and lies beside the weights of every encoder that it saves.
"""

from dataclasses import fields
from typing import Any

from transformers import PretrainedConfig

from .video_transformer import Architecture


class SaltVideoConfig(PretrainedConfig):
    """Sizes of the encoder, and whatever else stands in config.json; defaults are those of ViT-Base at 16 x 224 x 224.

    Args:
        settings: the fields of `Architecture`, and of the base class.
    """

    model_type = "salt_video"

    def __init__(
        self,
        image_size: int = 224,
        num_frames: int = 16,
        patch_size: int = 16,
        tubelet_size: int = 2,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 3072,
        hidden_act: str = "gelu",
        layer_norm_eps: float = 1e-6,
        qkv_bias: bool = True,
        layer_scale: bool = False,
        gated_mlp: bool = False,
        **settings: Any,
    ) -> None:
        self.image_size = image_size
        self.num_frames = num_frames
        self.patch_size = patch_size
        self.tubelet_size = tubelet_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.layer_norm_eps = layer_norm_eps
        self.qkv_bias = qkv_bias
        self.layer_scale = layer_scale
        self.gated_mlp = gated_mlp
        super().__init__(**settings)

    def architecture(self) -> Architecture:
        """Returns the sizes, checked."""
        return Architecture(**{field.name: getattr(self, field.name) for field in fields(Architecture)})
