"""From the frames of a video to a clip for `SaltVideoModel`: `AutoVideoProcessor.from_pretrained(FOLDER, ...)`.

This file is part of the package `salt_tune`, and lies beside the weights of every encoder that it saves.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from transformers import BatchFeature
from transformers.video_processing_utils import BaseVideoProcessor
from transformers.video_utils import VideoMetadata


class SaltVideoProcessor(BaseVideoProcessor):
    """Takes the frames, and the pixels of them, that the encoder was trained on.

    The video is cut into `num_frames` segments of equal length, and the middle of each is taken. The short side is
    resized by Pillow's bilinear filter, and the centre is cut out. The model itself normalises.
    """

    num_frames = 16
    crop_size = {"height": 224, "width": 224}  # noqa: RUF012  as in transformers
    do_sample_frames = True
    do_convert_rgb = True

    def sample_frames(self, metadata: VideoMetadata, num_frames: int | None = None, **_: Any) -> npt.NDArray[np.int64]:
        """Chooses the frames of a video.

        Args:
            metadata: of the video; `total_num_frames` is used.
            num_frames: to take; None: as in training.

        Returns:
            Increasing indices, shape (num_frames,).
        """
        count, length = num_frames or self.num_frames, metadata.total_num_frames
        centres = (np.arange(count) + 0.5) * length / count
        indices: npt.NDArray[np.int64] = np.minimum(centres.astype(np.int64), length - 1)
        return indices

    def _preprocess(
        self, videos: list[torch.Tensor], crop_size: Any, return_tensors: Any = None, **_: Any
    ) -> BatchFeature:
        """Returns `pixel_values_videos`: uint8, shape (videos, frames, height, width, 3)."""
        size = crop_size["height"]
        clips = [torch.stack([_cut(frame, size) for frame in video]) for video in videos]
        return BatchFeature(data={"pixel_values_videos": clips}, tensor_type=return_tensors)


def _cut(frame: torch.Tensor, size: int) -> torch.Tensor:
    """Cuts the central square of `size` pixels out of a frame (3, height, width), its short side resized to that."""
    image = Image.fromarray(frame.permute(1, 2, 0).contiguous().cpu().numpy())
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized.crop((left, top, left + size, top + size))))
