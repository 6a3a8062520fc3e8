"""`python -m benchmarks.decoding`: clips a second and core, read in order, beside decord and torchcodec.

All ways take the same 16 frames of each video and cut them into tokens of 224 x 224. The time is that of the processor,
in one thread. Of several rounds the shortest counts, as in `timeit`: all else in the others is the machine's. A way is
right where its frames are, bit for bit, those that decoding in order gives. The `bench` extra has decord and
torchcodec; torchcodec needs FFmpeg's libraries on the system.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import decord
import numpy as np
import numpy.typing as npt

from benchmarks import machine
from trainable.data.video.crops import CENTRE, cut_image
from trainable.data.video.reader import read_clip
from trainable.data.video.synthetic import draw_scene, render
from trainable.data.video.view import View

VIEW = View()
SECONDS = 6  # that each kind of video is measured for, in three rounds at least

Images = npt.NDArray[np.uint8]
Way = Callable[[Path], Images]


@dataclass(frozen=True)
class Case:
    """A kind of video.

    Attributes:
        name: in words.
        file: its name.
        codec: the encoder.
        size: height and width.
        frames: how many.
        options: of the encoder.
    """

    name: str
    file: str
    codec: str
    size: tuple[int, int]
    frames: int
    options: dict[str, str]


CASES = (
    Case("short webm: 48 frames of 426 x 240, VP9", "a.webm", "libvpx-vp9", (240, 426), 48, {"cpu-used": "4"}),
    Case("10 s mp4: 640 x 360, H.264, a key frame in 250", "b.mp4", "libx264", (360, 640), 300, {"g": "250"}),
    Case("10 s mp4: 640 x 360, HEVC, open groups", "c.mp4", "libx265", (360, 640), 300, {"x265-params": "log-level=0"}),
    Case("2 s mp4: 3840 x 2160, H.264", "d.mp4", "libx264", (2160, 3840), 60, {"preset": "veryfast"}),
    Case("2 min mp4: 426 x 240, H.264, a key frame in 30", "e.mp4", "libx264", (240, 426), 3600, {"g": "30"}),
)


def main() -> None:
    """Measures and writes results/decoding-*.json."""
    decord.logging.set_level(decord.logging.QUIET)
    ways: dict[str, Way] = {"in order": _in_order, "decord": _decord, "decord, next()": _decord_next}
    try:
        import torchcodec

        ways |= {"torchcodec": _torchcodec}
        versions = {"torchcodec": torchcodec.__version__}
    except (ImportError, RuntimeError) as error:
        versions = {"torchcodec": f"not there: {str(error).splitlines()[0]}"}
    figures: dict[str, object] = {"decord": decord.__version__, "PyAV": av.__version__, **versions}
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            path = _write(Path(folder) / case.file, case)
            figures[case.name] = _measure(path, ways)
    machine.write("decoding", figures)


def _measure(path: Path, ways: dict[str, Way]) -> dict[str, object]:
    """Measures clips a second of each way, as a share of decord's, and how many of 16 frames are other ones."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    wrong: dict[str, int] = {}
    right = VIEW.to_frames(_in_order(path))
    limit = time.monotonic() + SECONDS * len(ways)
    while len(seconds["in order"]) < 3 or time.monotonic() < limit:
        for name, way in ways.items():  # in turn, as the machine's own speed drifts
            started = time.process_time()
            tokens = way(path)
            seconds[name].append(time.process_time() - started)
            wrong[name] = int((VIEW.to_frames(tokens) != right).any(axis=(1, 2, 3)).sum())
    shortest = {name: min(times) for name, times in seconds.items()}
    return {
        name: {
            "clips/s": round(1 / best, 2),
            "of decord's": round(shortest["decord"] / best, 2),
            "other frames, of 16": wrong[name],
        }
        for name, best in shortest.items()
    }


def _in_order(path: Path) -> Images:
    tokens: Images = read_clip(path, VIEW)[0][0]
    return tokens


def _decord(path: Path) -> Images:
    reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
    return _cut(reader.get_batch(VIEW.frame_indices(len(reader)).tolist()).asnumpy())


def _decord_next(path: Path) -> Images:
    reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
    wanted = set(VIEW.frame_indices(len(reader)).tolist())
    frames = (reader.next() for _ in range(len(reader)))
    return _cut([frame.asnumpy() for index, frame in enumerate(frames) if index in wanted])


def _torchcodec(path: Path) -> Images:
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(str(path), dimension_order="NHWC", num_ffmpeg_threads=1)
    return _cut(decoder.get_frames_at(VIEW.frame_indices(len(decoder)).tolist()).data.numpy())


def _cut(images: Images | list[Images]) -> Images:
    """Cuts frames, and cuts them into tokens."""
    return VIEW.to_tokens(np.stack([cut_image(image, VIEW.size, CENTRE) for image in images]))


def _write(path: Path, case: Case) -> Path:
    """Writes a video of a moving shape, enlarged, under the grain of a camera."""
    rng = np.random.default_rng(0)
    height, width = case.size
    few = render(draw_scene(1, rng), frames=48, size=120)
    grain = rng.normal(0, 4, (height, width, 1))
    rows, columns = np.arange(height) * 120 // height, np.arange(width) * 120 // width
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(case.codec, rate=30, options=case.options)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for number in range(case.frames):
            image = few[number % 48][rows[:, None], columns] + np.roll(grain, number * 7, axis=(0, 1))
            frame = av.VideoFrame.from_ndarray(np.clip(image, 0, 255).astype(np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


if __name__ == "__main__":
    main()
