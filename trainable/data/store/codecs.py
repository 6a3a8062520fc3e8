"""How a store keeps pixels (raw, as JPEG, or not at all) and latents (float16, or int8 with a scale a token)."""

import io
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from trainable.data.video.view import View
from trainable.errors import ConfigError

PixelFormat = Literal["raw", "jpeg", "none"]
LatentFormat = Literal["float16", "int8"]
TargetNorm = Literal["layer_norm", "none"]

JPEG_QUALITY: Final = 95  # of full-resolution colour (4:4:4): about 1.3 of 255 off, in an eighth of the bytes
JPEG_LONGEST: Final = 65500  # pixels of a side


def encode_jpeg(tokens: npt.NDArray[np.uint8], view: View) -> npt.NDArray[np.uint8]:
    """Encodes a clip (tokens, token values) as one JPEG, its frames one below the other: its bytes, shape (n,)."""
    file = io.BytesIO()
    tall = view.to_frames(tokens).reshape(-1, view.size, 3)
    Image.fromarray(tall).save(file, "JPEG", quality=JPEG_QUALITY, subsampling="4:4:4")
    return np.frombuffer(file.getvalue(), dtype=np.uint8)


def decode_jpeg(data: npt.NDArray[np.uint8], view: View) -> npt.NDArray[np.uint8]:
    """Inverts `encode_jpeg`, but for what JPEG loses: (tokens, token values)."""
    tall = np.asarray(Image.open(io.BytesIO(data.data), formats=["JPEG"]))
    return view.to_tokens(tall.reshape(view.frames, view.size, view.size, 3))


def check_pixel_format(pixels: PixelFormat, view: View) -> None:
    """Refuses a view that the format cannot hold.

    Raises:
        ConfigError: a clip is too tall for a JPEG.
    """
    if pixels == "jpeg" and view.frames * view.size > JPEG_LONGEST:
        raise ConfigError("pixels", pixels, f"frames * size must be at most {JPEG_LONGEST} for JPEG; take raw")


def dequantise(latents: npt.NDArray[Any], scales: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float32]:
    """Returns latents in float32 from what is stored: float16 (..., dim), or int8 (..., dim) with scales (...)."""
    values: npt.NDArray[np.float32] = latents.astype(np.float32)
    return values if scales is None else values * scales[..., None]
