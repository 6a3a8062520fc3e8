"""Decodes videos in worker processes and encodes them in this one, part by part."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from trainable.data.build.decoding import Decoded, Decoders, decode_all
from trainable.data.build.decoding import Job as Decoding
from trainable.data.video.video_dataset import Video
from trainable.encode.job import Job, Part
from trainable.encode.parts import Rows, write_part
from trainable.errors import VideoError
from trainable.model.encoder import Encoder

BATCH: Final = 16  # clips that the encoder sees at once

Results = Iterator[Decoded | VideoError]


def encode_parts(
    job: Job, parts: Sequence[Part], encoder: Encoder, decoders: Decoders, advance: Callable[[int], None]
) -> None:
    """Encodes the centre crop of each video, and writes each part as it is whole.

    Args:
        job: that the parts are of.
        parts: those to make.
        encoder: on its device.
        decoders: processes that decode.
        advance: called with a number of videos when that many more are done with.
    """
    wanted = (Decoding(video.path) for _, videos in parts for video in videos)
    with closing(decode_all(wanted, job.view, decoders, pixels="none")) as results:
        for number, videos in parts:
            rows = Rows()
            for start in range(0, len(videos), BATCH):
                batch = videos[start : start + BATCH]
                _encode_batch(job, batch, results, encoder, rows)
                advance(len(batch))
            write_part(job, number, rows)


def _encode_batch(job: Job, videos: Sequence[Video], results: Results, encoder: Encoder, rows: Rows) -> None:
    pixels = []
    for video in videos:
        result = next(results)
        if isinstance(result, VideoError):
            rows.skipped.append({"id": video.id, "reason": str(result)})
            continue
        pixels.append(result.pixels[0])
        rows.ids.append(video.id)
        rows.videos.append(job.shown(video))
        rows.labels.append(video.label)
        rows.frames.append(result.frames)
    if pixels:
        rows.features += _pooled(encoder, np.stack(pixels))


@torch.inference_mode()
def _pooled(encoder: Encoder, pixels: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
    """Returns the mean of the tokens' features of each clip, (dim,), of pixels (clips, tokens, token values)."""
    device = encoder.embed.weight.device
    tokens = encoder.encode_tokens(torch.from_numpy(pixels).to(device), encoder.view.grid)
    return [*tokens.mean(dim=1).float().cpu().numpy()]
