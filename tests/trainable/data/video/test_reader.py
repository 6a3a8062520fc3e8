"""The frames read are the video's own, whatever its container and codec; what is no video is one clear line."""

import itertools
import subprocess
import sys
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import decord
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.trainable.data.video.kinds import KINDS, X264
from tests.trainable.data.video.stamped import Images, Kind, copy_stream, in_order, numbers_on, stamped, write
from trainable.data.video import open_video
from trainable.data.video.crops import CENTRE, cut_image
from trainable.data.video.open_video import Extent
from trainable.data.video.reader import read_clip
from trainable.data.video.view import View
from trainable.errors import VideoError

VIEW = View(frames=8, size=48, patch=8)


def frames_of(path: Path, view: View = VIEW) -> tuple[Images, list[int]]:
    (tokens,), indices = read_clip(path, view)
    assert tokens.dtype == np.uint8
    return view.to_frames(tokens), indices.tolist()


def assert_own_frames(path: Path, numbers: list[int] | range, view: View = VIEW) -> None:
    """The frames are the sampled ones of `numbers`, and, bit for bit, those of decoding one after the other."""
    images, indices = frames_of(path, view)
    assert indices == view.frame_indices(len(numbers)).tolist()
    assert numbers_on(images) == [numbers[index] for index in indices]
    decoded = in_order(path)
    np.testing.assert_array_equal(images, [cut_image(decoded[index], view.size, CENTRE) for index in indices])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.name}-{kind.codec}")
def test_every_container_and_codec(kind: Kind, tmp_path: Path) -> None:
    assert_own_frames(write(tmp_path / kind.name, kind, range(40)), range(40))


WITNESSED = [kind for kind in KINDS if kind.name in ("a.mp4", "a.mkv", "a.mov", "a.flv", "a.webm", "b.mp4", "a8.webm")]


@pytest.mark.parametrize("kind", WITNESSED, ids=lambda kind: kind.name)
def test_another_library_sees_the_same_frames(kind: Kind, tmp_path: Path) -> None:
    """decord, which has a FFmpeg of its own, is right where it need not jump, up to the colours' last digit."""
    path = write(tmp_path / kind.name, kind, range(40))
    seen = decord.VideoReader(str(path), num_threads=1)
    images, indices = frames_of(path)
    decoded = [frame.asnumpy() for frame in (seen.next() for _ in range(len(seen)))]
    wanted = [cut_image(decoded[index], VIEW.size, CENTRE) for index in indices]
    np.testing.assert_allclose(images.astype(int), np.stack(wanted).astype(int), atol=1)


@pytest.mark.parametrize("length", [1, 3, 8, 47])
def test_short_and_long_videos(length: int, tmp_path: Path) -> None:
    view = View(frames=8, size=48, patch=8, views=1)
    assert_own_frames(
        write(tmp_path / "a.webm", Kind("a.webm", "libvpx-vp9", {"g": "12"}), range(length)), range(length), view
    )


@pytest.mark.parametrize(
    "kind",
    [
        Kind("10 bits.mp4", "libx265", {"x265-params": "log-level=none"}, pixels="yuv420p10le"),
        Kind("4-2-2.mp4", "libx264", X264, pixels="yuv422p"),
        Kind("4-4-4.mkv", "libx264", X264, pixels="yuv444p"),
        Kind("grey.mkv", "ffv1", pixels="gray"),
        Kind("grey 16.mkv", "ffv1", pixels="gray16le"),
        Kind("alpha.mkv", "ffv1", pixels="yuva420p"),
        Kind("transparent.webm", "libvpx-vp9", {"auto-alt-ref": "0"}, pixels="yuva420p"),
        Kind("rgb.avi", "huffyuv", pixels="rgb24"),
        Kind("odd.mkv", "ffv1", size=(49, 67)),
        Kind("odd.webm", "libvpx-vp9", {"cpu-used": "8"}, size=(51, 77)),
        Kind("interlaced.ts", "mpeg2video", {"flags": "+ildct+ilme"}, rate=25),
        Kind("interlaced.mp4", "libx264", X264 | {"flags": "+ildct+ilme", "x264-params": "tff=1"}),
        Kind("full range.mp4", "libx264", X264, pixels="yuvj420p"),
        Kind("slow.mp4", "libx264", X264, rate=Fraction(7, 10)),
        Kind("hidden frames.webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16", "g": "60"}),
    ],
    ids=lambda kind: kind.name,
)
def test_pixels_of_any_kind(kind: Kind, tmp_path: Path) -> None:
    assert_own_frames(write(tmp_path / kind.name, kind, range(40)), range(40))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm"])
def test_frames_count_and_not_seconds(name: str, tmp_path: Path) -> None:
    codec = "libvpx-vp9" if name == "a.webm" else "libx264"
    times = np.cumsum(np.random.default_rng(0).integers(1, 9, 40)).tolist()
    assert_own_frames(write(tmp_path / name, Kind(name, codec), range(40), times), range(40))


# Pairs that a copy of the packets alone does not make: the container has none such, or wants another form of stream.
IN_ANOTHER_FORM = {
    *(("mpeg2video", "flv"), ("mpeg4", "flv"), ("libx265", "flv")),
    *(("libx264", "avi"), ("libx265", "avi"), ("mpeg4", "ts")),
}


@settings(deadline=None, max_examples=30)
@given(
    codec=st.sampled_from(["libx264", "libx265", "mpeg4", "mpeg2video"]),
    container=st.sampled_from(["mp4", "mov", "mkv", "ts", "avi", "flv", "nut"]),
    distance=st.sampled_from([1, 5, 12, 250]),
    between=st.integers(0, 3),
    length=st.integers(10, 40),
    where=st.floats(0, 0.9),
    start=st.integers(0, 500),
)
def test_streams_that_were_cut_without_decoding(
    codec: str, container: str, distance: int, between: int, length: int, where: float, start: int
) -> None:
    """Of MP4 and MOV the frames from the cut on; of others, which cannot say what to drop, from the key frame on."""
    assume((codec, container) not in IN_ANOTHER_FORM)
    options = {"g": str(distance), "bf": str(between), "preset": "ultrafast"}
    if codec == "libx265":
        options["x265-params"] = f"keyint={distance}:bframes={between}:open-gop=0:log-level=none"
    if codec == "libx264":
        options["x264-params"] = "scenecut=0"
    with tempfile.TemporaryDirectory() as name:
        source = Path(name, "source.mp4")
        cut, first = Path(name, f"cut.{container}"), int(where * length)
        write(source, Kind("source.mp4", codec, options), range(length), [start + number for number in range(length)])
        copy_stream(source, cut, start=first)
        assume(container != "ts" or cut.stat().st_size > 2000)  # of fewer packets FFmpeg knows no transport stream
        whole = in_order(source)
        assert numbers_on(whole) == [*range(length)]
        images, indices = frames_of(cut)
        numbers = numbers_on(in_order(cut))
        assert numbers_on(images) == [numbers[index] for index in indices]
        assert indices == VIEW.frame_indices(len(numbers)).tolist()
        np.testing.assert_array_equal(
            images, [cut_image(whole[numbers[index]], VIEW.size, CENTRE) for index in indices]
        )
        if container in ("mp4", "mov"):
            assert numbers == [*range(first, length)]


@pytest.mark.timeout(300)
def test_a_cut_far_from_a_key_frame_ends(tmp_path: Path) -> None:
    """Decord never comes back from such a file."""
    kind = Kind("source.mp4", "libx264", X264 | {"g": "250", "keyint_min": "250"})
    source = write(tmp_path / "source.mp4", kind, range(360))
    assert_own_frames(copy_stream(source, tmp_path / "cut.mp4", start=171), range(171, 360))


@pytest.mark.parametrize("container", ["ts", "mkv"])
def test_what_comes_before_the_first_key_frame_is_left_out(container: str, tmp_path: Path) -> None:
    kind = Kind(f"source.{container}", "libx264", X264 | {"bf": "0"})
    source = write(tmp_path / kind.name, kind, range(40))
    with av.open(str(source)) as read, av.open(str(tmp_path / f"cut.{container}"), "w") as written:
        copied = written.add_stream_from_template(read.streams.video[0])
        for packet in itertools.islice((p for p in read.demux(video=0) if p.size), 7, None):
            packet.stream = copied
            written.mux(packet)
    images, indices = frames_of(tmp_path / f"cut.{container}")
    assert indices == VIEW.frame_indices(28).tolist()
    assert numbers_on(images) == [12 + index for index in indices]


@pytest.mark.parametrize("kept", [0, 64 * 2**20])
def test_a_file_is_read_again_where_its_packets_are_too_many_to_keep(
    kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_video, "MOST_KEPT", kept)
    for kind in (
        Kind("a.mp4", "libx264", X264),
        Kind("a.webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16"}),
    ):
        assert_own_frames(write(tmp_path / kind.name, kind, range(40)), range(40))


def test_how_much_there_is_is_told_before_it_is_decoded(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", Kind("a.mp4", "libx264", X264), range(40))
    told: list[Extent] = []
    read_clip(path, VIEW, on_extent=told.append)
    assert told == [Extent(packets=40, pixels=48 * 64, bytes=path.stat().st_size)]


TURNS: dict[str, tuple[list[int], Callable[[Images], Images]]] = {
    "a quarter left": ([0, -1, 1, 0], lambda image: np.rot90(image, 1)),
    "a quarter right": ([0, 1, -1, 0], lambda image: np.rot90(image, -1)),
    "upside down": ([-1, 0, 0, -1], lambda image: np.rot90(image, 2)),
    "mirrored": ([-1, 0, 0, 1], lambda image: image[:, ::-1]),
    "as it is": ([1, 0, 0, 1], lambda image: image),
}


@pytest.mark.parametrize(("matrix", "turn"), TURNS.values(), ids=TURNS.keys())
def test_a_frame_is_turned_as_its_container_says(
    matrix: list[int], turn: Callable[[Images], Images], tmp_path: Path
) -> None:
    path = write(tmp_path / "a.mp4", Kind("a.mp4", "libx264", X264), range(4))
    upright = in_order(path)
    set_matrix(path, matrix)
    view = View(frames=4, size=48, patch=8)
    images, _ = frames_of(path, view)
    np.testing.assert_array_equal(
        images, [cut_image(np.ascontiguousarray(turn(image)), 48, CENTRE) for image in upright]
    )


def test_a_frame_that_is_to_be_turned_by_an_odd_angle_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", Kind("a.mp4", "libx264", X264), range(4))
    set_matrix(path, [0.7, 0.7, -0.7, 0.7])
    with pytest.raises(VideoError, match="is to be turned by an angle that is no multiple of 90 degrees"):
        read_clip(path, VIEW)


def set_matrix(path: Path, matrix: list[int] | list[float]) -> None:
    """Puts a display matrix into the track header of an MP4 file."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    a, b, c, d = (round(value * 65536).to_bytes(4, "big", signed=True) for value in matrix)
    content[at : at + 36] = a + b + bytes(4) + c + d + bytes(12) + (1 << 30).to_bytes(4, "big")
    path.write_bytes(content)


@pytest.mark.parametrize("container", ["ts", "flv", "mpg"])
def test_a_stream_that_begins_in_the_middle_takes_nothing_away(container: str, tmp_path: Path) -> None:
    codec = {"ts": "libx264", "flv": "libx264", "mpg": "mpeg2video"}[container]
    silent = write(tmp_path / f"silent.{container}", Kind("", codec, {"g": "12"}), range(60))
    with_sound = tmp_path / f"sound.{container}"
    with av.open(str(silent)) as read, av.open(str(with_sound), "w") as written:
        video = written.add_stream_from_template(read.streams.video[0])
        audio = written.add_stream("mp2" if container == "mpg" else "aac", rate=44100)
        frame = silence(44100, "s16" if container == "mpg" else "fltp")
        frame.pts = 44100
        for number, packet in enumerate(p for p in read.demux(video=0) if p.size):
            packet.stream = video
            written.mux(packet)
            if number == 40:
                written.mux(audio.encode(frame))
        written.mux(audio.encode())
    assert_own_frames(with_sound, range(60))


def silence(rate: int, samples: str) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(
        np.zeros((1, 1152), np.int16 if samples == "s16" else np.float32), samples, "mono"
    )
    frame.sample_rate = rate
    return frame


def audio_only(path: Path, cover: bool = False) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=48000)
        picture = container.add_stream("mjpeg", rate=1) if cover else None
        sound = silence(48000, "fltp")
        if picture is not None:
            picture.height, picture.width, picture.pix_fmt = 48, 64, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
            container.mux(picture.encode(av.VideoFrame.from_ndarray(stamped([1])[0], format="rgb24")))
            container.mux(picture.encode())
        container.mux(stream.encode(sound))
        container.mux(stream.encode())


def cut_short(path: Path) -> None:
    write(path, Kind("", "libvpx-vp9", container="webm"), range(24))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])


def no_frames(path: Path) -> None:
    with av.open(str(path), "w", format="webm") as container:
        stream = container.add_stream("libvpx-vp9", rate=12)
        stream.height = stream.width = 64
        container.start_encoding()


def unknown_codec(path: Path) -> None:
    write(path, Kind("", "libvpx-vp9", container="webm"), range(24))
    path.write_bytes(path.read_bytes().replace(b"V_VP9", b"V_XX9"))


def damaged(path: Path) -> None:
    content = bytearray(write(path, Kind("", "libvpx-vp9", container="webm"), range(24)).read_bytes())
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
        (cut_short, "is cut short: it has"),
        (damaged, "does not decode: frame"),
        (audio_only, "holds no video stream"),
        (lambda path: audio_only(path, cover=True), "only a cover picture"),
        (no_frames, "not a readable video"),
        (unknown_codec, "is of a codec that is not known"),
    ],
    ids=["text", "empty", "folder", "missing", "cut", "damaged", "audio", "cover", "no frames", "codec"],
)
def test_what_does_not_decode_is_one_line_with_path_and_cause(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], make: Callable[[Path], object], cause: str
) -> None:
    path = tmp_path / "clip.webm"
    make(path)
    capfd.readouterr()
    with pytest.raises(VideoError) as caught:
        read_clip(path, VIEW)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert cause in message
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.name}-{kind.codec}")
def test_damage_in_the_middle_is_named(kind: Kind, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A third of the file overwritten: what no decoder could miss is an error, with what the decoder said of it."""
    path = write(tmp_path / kind.name, kind, range(40))
    content = bytearray(path.read_bytes())
    third = len(content) // 3
    content[third : 2 * third] = np.random.default_rng(0).bytes(third)
    path.write_bytes(content)
    capfd.readouterr()
    with pytest.raises(VideoError):
        read_clip(path, VIEW)
    assert capfd.readouterr() == ("", "")


def test_what_the_decoder_says_is_in_the_log_of_the_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flv", Kind("a.flv", "libx264", X264), range(40))
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 500] = bytes(500)
    path.write_bytes(content)
    with pytest.raises(VideoError) as caught:
        read_clip(path, VIEW)
    assert any(line.startswith(("flv: ", "h264: ")) for line in caught.value.log)


@pytest.mark.parametrize(("height", "width"), [(64, 128), (128, 64), (16, 20), (50, 36)])
def test_the_centre_is_kept_in_colour(tmp_path: Path, height: int, width: int) -> None:
    frames = np.zeros((4, height, width, 3), dtype=np.uint8)
    short, rows, columns = min(height, width), height // 2, width // 2
    square = frames[:, rows - short // 2 : rows + short // 2, columns - short // 2 : columns + short // 2]
    square[:, :, : short // 2] = (200, 40, 40)
    square[:, :, short // 2 :] = (40, 40, 200)
    image = frames_of(encode(tmp_path / "a.webm", frames), View(frames=8, size=32, patch=8))[0][0].astype(int)
    np.testing.assert_allclose(image[3:-3, 3:12].mean(axis=(0, 1)), (200, 40, 40), atol=16)
    np.testing.assert_allclose(image[3:-3, -12:-3].mean(axis=(0, 1)), (40, 40, 200), atol=16)


def test_resizing_smooths_instead_of_skipping_pixels(tmp_path: Path) -> None:
    stripes = np.zeros((2, 128, 128, 3), dtype=np.uint8)
    stripes[:, :, ::4] = stripes[:, :, 1::4] = 255
    assert frames_of(encode(tmp_path / "a.webm", stripes), View(frames=8, size=32, patch=8))[0].std() < 30


def encode(path: Path, frames: Images) -> Path:
    """Writes RGB frames (frames, height, width, 3) as VP9."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=12, options={"cpu-used": "8"})
        stream.height, stream.width = frames.shape[1:3]
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_process_that_reads_can_still_write_and_loads_no_torch(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from trainable.data.video.reader import read_clip\n"
        "from trainable.data.video.synthetic import write_dataset; from trainable.data.video.view import View\n"
        "folder = Path(sys.argv[1]); write_dataset(folder, 16)\n"
        "read_clip(folder / '1.webm', View(size=32)); write_dataset(folder / 'more', 16)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=600)
