"""The encoder as a model of transformers: `AutoModel.from_pretrained(FOLDER, trust_remote_code=True)`.

This file is part of the package `salt_tune`, and lies beside the weights of every encoder that it saves.
"""

from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .configuration_salt_video import SaltVideoConfig
from .video_transformer import VideoTransformer


class SaltVideoModel(PreTrainedModel, VideoTransformer):
    """A video encoder, pretrained with V-JEPA and a frozen teacher (SALT)."""

    config_class = SaltVideoConfig
    main_input_name = "pixel_values_videos"
    _no_split_modules = ("Block",)
    _supports_sdpa = True

    def __init__(self, config: SaltVideoConfig) -> None:
        super().__init__(config)
        self.build(config.architecture())
        self.post_init()  # type: ignore[operator]

    def forward(
        self,
        pixel_values_videos: torch.Tensor,
        index: torch.Tensor | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPooling | tuple[torch.Tensor, torch.Tensor]:
        """Encodes clips; see `VideoTransformer.encode`.

        Args:
            pixel_values_videos: RGB frames, shape (clips, frames, height, width, 3): uint8, or floats from 0 to 1.
            index: the visible tokens, shape (clips, n); None: all.
            return_dict: an object with names (default), or a tuple.

        Returns:
            `last_hidden_state`, shape (clips, tokens, hidden_size), and their mean as `pooler_output`.

        Raises:
            ValueError: a shape, a type or a value that does not fit; says what would be right.
        """
        features = self.encode(pixel_values_videos, index)
        if return_dict is False:
            return tuple(features)
        return BaseModelOutputWithPooling(last_hidden_state=features.tokens, pooler_output=features.pooled)

    def save_pretrained(self, *arguments: Any, **settings: Any) -> Any:
        """Saves the model; config.json then no longer names the weights that it was loaded from."""
        self.config.weights_sha256 = None  # type: ignore[union-attr]
        return super().save_pretrained(*arguments, **settings)
