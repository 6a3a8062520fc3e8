"""A file that was cut short is found, whatever its container, and a whole one is never complained of."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.trainable.data.video.kinds import KINDS
from tests.trainable.data.video.stamped import Kind, write
from trainable.data.video.container import complaint_about
from trainable.data.video.reader import read_clip
from trainable.data.video.view import View
from trainable.errors import VideoError

VIEW = View(frames=8, size=48, patch=8)

BARE = ("a.h264", "p.m2v", "d.dv")  # declare nothing: whole frames that are missing at the end are nowhere missed
FAST = settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("whole")
    return {kind.name: write(folder / kind.name, kind, range(40)) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_whole_file_is_not_complained_of(kind: Kind, whole: dict[str, Path]) -> None:
    assert complaint_about(whole[kind.name]) == ""


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.name not in BARE], ids=lambda kind: kind.name)
@FAST
@given(share=st.floats(0.01, 0.99), off=st.integers(0, 200))
def test_a_file_that_was_cut_short_is_refused_or_lacks_no_frame(
    kind: Kind, whole: dict[str, Path], share: float, off: int, tmp_path: Path
) -> None:
    content = whole[kind.name].read_bytes()
    size = max(1, int(len(content) * share) - off)
    packet = {"ts": 188, "mts": 188, "m2ts": 192, "mpg": 2048, "vob": 2048}.get(kind.name.rpartition(".")[2], 0)
    if packet and size % packet == 0:  # whole packets alone say nothing of those that are not there
        size += 1
    cut = tmp_path / kind.name
    cut.write_bytes(content[:size])
    try:
        tokens, indices = read_clip(cut, VIEW)
    except VideoError:
        return
    expected_tokens, expected = read_clip(whole[kind.name], VIEW)
    assert indices.tolist() == expected.tolist()
    np.testing.assert_array_equal(tokens, expected_tokens)


@FAST
@given(content=st.binary(max_size=300), start=st.sampled_from([*range(len(KINDS))]), kept=st.integers(4, 64))
def test_any_bytes_make_a_complaint_or_none(
    content: bytes, start: int, kept: int, whole: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "any"
    path.write_bytes(whole[KINDS[start].name].read_bytes()[:kept] + content)
    assert complaint_about(path).startswith(("", "is cut short: ", "is damaged: "))
    with pytest.raises(VideoError):
        read_clip(path, VIEW)


def ogg_page(number: int) -> bytes:
    return b"OggS\0\0" + bytes(8) + b"\1\0\0\0" + number.to_bytes(4, "little") + bytes(5)


ODD = {
    "Matroska without a size": (
        b"\x1a\x45\xdf\xa3\x85abcde\x18\x53\x80\x67",
        "is cut short: it ends within its header",
    ),
    "FLV within its size": (b"FLV\x01" + bytes(40) + b"\0\x08filesize\0", "is cut short: it ends within its header"),
    "a long box": (b"\0\0\0\1free" + (100).to_bytes(8, "big"), "is cut short: it has 16 of 100 bytes"),
    "a box of no size": (b"\0\0\0\4free" + bytes(8), ""),
    "RIFF of any length": (b"RIFF\0\0\0\0AVI " + bytes(20), ""),
    "RIFF and more": (b"RIFF\4\0\0\0AVI " + b"more of another kind", ""),
    "a tag of no kind": (b"FLV\x01" + bytes(20) + (11).to_bytes(4, "big"), "is cut short: it ends within a tag"),
    "a page less": (ogg_page(0) + ogg_page(2), "is damaged: pages are missing before byte 27"),
    "a pack far away": (b"\0\0\1\xba" + bytes(1 << 20), ""),
    "a pack and no packet": (b"\0\0\1\xba" + bytes(8), "is cut short: it ends before a packet"),
    "frames counted": (
        b"DKIF\0\0\x20\0" + bytes(16) + (5).to_bytes(4, "little") + bytes(4) + 2 * (b"\1\0\0\0" + bytes(9)),
        "is cut short: it has 2 frames, and declares 5",
    ),
    "a chunk of no size": (b".RMF" + bytes(30), ""),
}


@pytest.mark.parametrize("name", ODD)
def test_headers_that_lead_nowhere(name: str, tmp_path: Path) -> None:
    content, complaint = ODD[name]
    (tmp_path / "odd").write_bytes(content)
    assert complaint_about(tmp_path / "odd") == complaint
