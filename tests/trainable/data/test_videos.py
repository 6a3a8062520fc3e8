"""Decoding: the right frames, the right pixels, and one clear line for what is no video."""

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from trainable.data.videos import read_clip
from trainable.data.view import View
from trainable.errors import VideoError

VIEW = View(frames=8, size=32, patch=8, tubelet=2)
STEP = 5  # grey levels between one frame and the next


def write_video(path: Path, frames: npt.NDArray[np.uint8], codec: str = "libvpx-vp9") -> Path:
    """Writes RGB frames (frames, height, width, 3)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=12, options={"cpu-used": "8", "g": "12"})
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        if codec == "mpeg4":
            stream.bit_rate = 4_000_000
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def counting(frames: int, height: int = 48, width: int = 64) -> npt.NDArray[np.uint8]:
    """Frames whose grey level is their index times STEP."""
    levels = np.arange(frames, dtype=np.uint8) * np.uint8(STEP)
    return np.broadcast_to(levels[:, None, None, None], (frames, height, width, 3)).copy()


@pytest.mark.parametrize(
    ("name", "codec"), [("a.webm", "libvpx-vp9"), ("a.mp4", "mpeg4"), ("a.mkv", "libx264"), ("a.avi", "mpeg4")]
)
@pytest.mark.parametrize("length", [3, 8, 47])
def test_the_frames_are_those_of_the_view(tmp_path: Path, name: str, codec: str, length: int) -> None:
    (tokens,), indices = read_clip(write_video(tmp_path / name, counting(length), codec), VIEW)
    assert tokens.dtype == np.uint8
    assert tokens.shape == (VIEW.tokens, VIEW.token_values)
    assert indices.tolist() == VIEW.frame_indices(length).tolist()
    shown = VIEW.to_frames(tokens).mean(axis=(1, 2, 3)) / STEP
    np.testing.assert_allclose(shown, indices, atol=0.45)


@pytest.mark.parametrize(("height", "width"), [(64, 128), (128, 64), (16, 20), (50, 36)])
def test_the_centre_is_kept_in_colour(tmp_path: Path, height: int, width: int) -> None:
    frames = np.zeros((4, height, width, 3), dtype=np.uint8)
    short, rows, columns = min(height, width), height // 2, width // 2
    square = frames[:, rows - short // 2 : rows + short // 2, columns - short // 2 : columns + short // 2]
    square[:, :, : short // 2] = (200, 40, 40)
    square[:, :, short // 2 :] = (40, 40, 200)
    (tokens,), _ = read_clip(write_video(tmp_path / "a.webm", frames), VIEW)
    image = VIEW.to_frames(tokens)[0].astype(int)
    np.testing.assert_allclose(image[3:-3, 3:12].mean(axis=(0, 1)), (200, 40, 40), atol=16)
    np.testing.assert_allclose(image[3:-3, -12:-3].mean(axis=(0, 1)), (40, 40, 200), atol=16)


def test_resizing_smooths_instead_of_skipping_pixels(tmp_path: Path) -> None:
    stripes = np.zeros((2, 128, 128, 3), dtype=np.uint8)
    stripes[:, :, ::4] = stripes[:, :, 1::4] = 255
    (tokens,), _ = read_clip(write_video(tmp_path / "a.webm", stripes), VIEW)
    assert VIEW.to_frames(tokens).std() < 30


def no_video_stream(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libopus", rate=48000)
        silence = av.AudioFrame(format="s16", layout="stereo", samples=960)
        silence.sample_rate = 48000
        container.mux(stream.encode(silence))
        container.mux(stream.encode())


def cut_off(path: Path) -> None:
    write_video(path, counting(24))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])


def no_frames(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=12)
        stream.height = stream.width = 64
        container.start_encoding()


def damaged(path: Path) -> None:
    content = bytearray(write_video(path, counting(24)).read_bytes())
    frame = content.index(b"\xa3", len(content) // 2)  # a block of the last cluster
    content[frame + 6 : frame + 30] = b"\xff" * 24
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (lambda path: path.write_text("no video\n" * 50), "not a readable video"),
        (lambda path: path.write_bytes(b""), "not a readable video"),
        (lambda path: path.mkdir(), "directory"),
        (lambda _: None, "No such file"),
        (cut_off, "cut off"),
        (damaged, "does not decode"),
        (no_video_stream, "no video stream"),
        (no_frames, "not a readable video"),
        (lambda path: write_video(path, counting(4), "libsvtav1"), "AV1"),
    ],
    ids=["text", "empty", "folder", "missing", "cut off", "damaged", "audio only", "no frames", "AV1"],
)
def test_what_does_not_decode_is_one_line_with_path_and_cause(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], make: object, cause: str
) -> None:
    path = tmp_path / "clip.webm"
    make(path)  # type: ignore[operator]
    capfd.readouterr()
    with pytest.raises(VideoError) as caught:
        read_clip(path, VIEW)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert cause in message
    assert "\n" not in message
    assert capfd.readouterr().err == ""


def test_a_process_that_reads_can_still_write(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from trainable.data.videos import read_clip\n"
        "from trainable.data.synthetic import write_dataset; from trainable.data.view import View\n"
        "folder = Path(sys.argv[1]); write_dataset(folder, 16)\n"
        "read_clip(folder / '1.webm', View(size=32)); write_dataset(folder / 'more', 16)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=600)
