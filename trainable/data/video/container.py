"""Compares a video file with what its container declares: one that was cut short decodes as a shorter video.

The containers declare it in different ways:
- a size in the header: Matroska, ISO media, RIFF, ASF, MXF;
- a mark at the end: Ogg, GIF, FLV;
- numbered or counted packets: Ogg, IVF, RealMedia;
- packets of one size (MPEG-TS) or of a stated size (MPEG-PS).

A bare elementary stream declares nothing.
"""

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

HEAD = 4096  # bytes in which a container names itself
TAIL = 1 << 20  # bytes that hold the last packet of a stream
AT_ONCE = 1 << 16  # transport packets read at once
TS_MARK = 0x47  # that each transport packet begins with
PS_END: Final = b"\0\0\1\xb9"  # end code of a program stream
UNKNOWN: Final = frozenset({0, 2**32 - 1})  # what a writer that cannot seek leaves as a RIFF size

FILE_PROPERTIES: Final = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")  # ASF object that has the file's size
PARTITION: Final = bytes.fromhex("060e2b34020501010d01020101")  # key of an MXF partition pack, without its kind


def complaint_about(path: Path) -> str:
    """Says what a video file lacks of what its container declares.

    Args:
        path: a file of any container.

    Returns:
        What is wrong, as the end of a sentence ("is cut short: it has 100 of 250 bytes"); empty where nothing is, or
        nothing is declared.

    Raises:
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEAD)
        try:
            return next((check(file, head, size) for matches, check in _CHECKS if matches(head)), "")
        except (IndexError, struct.error):
            return "is cut short: it ends within its header"


def _of(size: int, declared: int) -> str:
    return f"is cut short: it has {size} of {declared} bytes" if size < declared else ""


def _matroska(_: BinaryIO, head: bytes, size: int) -> str:
    header_size, at, _unknown = _ebml_size(head, 4)
    at += header_size
    if head[at : at + 4] != b"\x18\x53\x80\x67":
        return ""
    segment_size, at, unknown = _ebml_size(head, at + 4)
    return "" if unknown else _of(size, at + segment_size)


def _ebml_size(data: bytes, at: int) -> tuple[int, int, bool]:
    """Reads an EBML element size: its value, where the element's content starts, and whether it is left open."""
    length = 9 - data[at].bit_length()
    largest = (1 << 7 * length) - 1
    value = int.from_bytes(data[at : at + length], "big") & largest
    return value, at + length, value == largest


def _iso_media(file: BinaryIO, _: bytes, size: int) -> str:
    """Walks the boxes of the first level; one of size 0 reaches to the end of the file."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        header = file.read(16)
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        if length < 8:
            return ""
        at += length
    return _of(size, at)


def _riff(file: BinaryIO, _: bytes, size: int) -> str:
    """Walks the RIFF chunks: an AVI of over a gigabyte has several."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        name, length = file.read(4), int.from_bytes(file.read(4), "little")
        if name != b"RIFF" or length in UNKNOWN:
            return ""
        at += 8 + length + length % 2
    return _of(size, at) if size < at - 1 else ""  # the last byte may be padding that was left out


def _flv(file: BinaryIO, head: bytes, size: int) -> str:
    """Walks the tags: each is followed by its size, the last one too; most writers note the file's size."""
    if (at := head.find(b"\0\x08filesize\0")) >= 0:
        (noted,) = struct.unpack(">d", head[at + 11 : at + 19])
        if size < noted < 2**63:
            return _of(size, round(noted))
    if size < 13 + 11 + 4:
        return "is cut short: it ends before the first tag"
    file.seek(-4, os.SEEK_END)
    length = int.from_bytes(file.read(4), "big")
    if 11 <= length <= size - 4:
        file.seek(size - 4 - length)
        kind, *content = file.read(4)
        if kind & 0x1F in (8, 9, 18) and int.from_bytes(bytes(content), "big") + 11 == length:
            return ""
    return "is cut short: it ends within a tag"


def _ogg(file: BinaryIO, _: bytes, size: int) -> str:
    """Walks the pages: those of a stream are numbered, and its last one says that it is the last."""
    at, numbers, open_streams = 0, dict[bytes, int](), set[bytes]()
    while at < size:
        file.seek(at)
        page = file.read(27)
        sizes = file.read(page[26]) if page.startswith(b"OggS") and len(page) == 27 else None
        if sizes is None:
            return f"is damaged: no page begins at byte {at}"
        stream, number, last = page[14:18], int.from_bytes(page[18:22], "little"), page[5] & 4
        if number != numbers.get(stream, number - 1) + 1:
            return f"is damaged: pages are missing before byte {at}"
        numbers[stream] = number
        (open_streams.discard if last else open_streams.add)(stream)
        at += 27 + len(sizes) + sum(sizes)
    return _of(size, at) or ("is cut short: it has no last page" if open_streams else "")


def _gif(file: BinaryIO, _: bytes, size: int) -> str:
    return "" if _tail(file, size).rstrip(b"\0").endswith(b";") else "is cut short: it has no trailer"


def _mpeg_ts(file: BinaryIO, head: bytes, size: int) -> str:
    """Looks at the first byte of each packet."""
    packet, first = _ts_packet(head) or (0, 0)
    file.seek(0)
    for start in range(0, size, packet * AT_ONCE):
        read = np.frombuffer(file.read(packet * AT_ONCE), np.uint8)
        marks = read[first::packet]
        if (wrong := np.flatnonzero(marks != TS_MARK)).size:
            return f"is damaged: no packet begins at byte {start + first + int(wrong[0]) * packet}"
    return f"is cut short: its last packet has {size % packet} of {packet} bytes" if size % packet else ""


def _ts_packet(head: bytes) -> tuple[int, int] | None:
    """Returns a transport packet's bytes, and where the mark is: plain, with Blu-ray's time stamps, with checksums."""
    for packet, first in ((188, 0), (192, 4), (204, 0)):
        marks = head[first::packet]
        if len(marks) > 2 and set(marks) == {TS_MARK}:
            return packet, first
    return None


def _mpeg_ps(file: BinaryIO, _: bytes, size: int) -> str:
    """Walks the packets behind the last pack header."""
    tail = _tail(file, size)
    at = tail.rfind(b"\0\0\1\xba")
    if at < 0:
        return ""
    at += 14 + (tail[at + 13] & 7) if at + 14 <= len(tail) and tail[at + 4] >> 6 == 1 else 12  # MPEG-2, or MPEG-1
    packets = at
    while at + 6 <= len(tail):
        if tail[at : at + 3] != b"\0\0\1" or tail[at : at + 4] == PS_END:
            return ""  # padding or nothing that is known, or the end
        at += 6 + int.from_bytes(tail[at + 4 : at + 6], "big")
    if at > len(tail):
        return f"is cut short: its last packet lacks {at - len(tail)} bytes"
    left = tail[at:]
    if at == packets or (left and left != PS_END and left.startswith(b"\0\0\1"[: len(left)])):
        return "is cut short: it ends before a packet"
    return ""


def _asf(_: BinaryIO, head: bytes, size: int) -> str:
    at = head.find(FILE_PROPERTIES)
    if at < 0 or head[at + 88] & 1:  # a broadcast does not know its size
        return ""
    return _of(size, int.from_bytes(head[at + 40 : at + 48], "little"))


def _mxf(_: BinaryIO, head: bytes, size: int) -> str:
    start = head.find(PARTITION)
    at = start + 17 + (head[start + 16] & 0x7F if head[start + 16] > 0x80 else 0)
    footer = int.from_bytes(head[at + 24 : at + 32], "big")
    return _of(size, footer)


def _ivf(file: BinaryIO, head: bytes, size: int) -> str:
    """Walks the frames. The header has their number, or their duration (FFmpeg), or leaves it open."""
    at, frames, last = int.from_bytes(head[6:8], "little"), 0, 0
    while at < size:
        file.seek(at)
        length, last = int.from_bytes(file.read(4), "little"), int.from_bytes(file.read(8), "little")
        at, frames = at + 12 + length, frames + 1
    declared = int.from_bytes(head[24:28], "little")
    step = last / (frames - 1) if frames > 1 else 1
    if at <= size and declared not in UNKNOWN and frames < declared and last + step < declared - step / 2:
        return f"is cut short: it has {frames} frames, and declares {declared}"
    return _of(size, at)


def _real_media(file: BinaryIO, _: bytes, size: int) -> str:
    """Counts the packets: their number stands before them."""
    at = 0
    while at + 18 <= size:
        file.seek(at)
        name, length, _version, packets = file.read(4), *(int.from_bytes(file.read(n), "big") for n in (4, 2, 4))
        if name == b"DATA":
            break
        if length < 10:
            return ""
        at += length
    else:
        return "is cut short: it has no packets"
    at += 18
    for number in range(packets):
        file.seek(at)
        header = file.read(4)
        length = int.from_bytes(header[2:], "big")
        if header[:2] not in (b"\0\0", b"\0\1") or length < 12 or at + length > size:
            return f"is damaged: packet {number} of {packets} is not whole"
        at += length
    return ""


def _tail(file: BinaryIO, size: int) -> bytes:
    file.seek(max(0, size - TAIL))
    return file.read()


_CHECKS: Final[tuple[tuple[Callable[[bytes], object], Callable[[BinaryIO, bytes, int], str]], ...]] = (
    (lambda head: head.startswith(b"\x1a\x45\xdf\xa3") and len(head) > 12, _matroska),
    (lambda head: head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"), _iso_media),
    (lambda head: head.startswith(b"RIFF") and head[8:12] in (b"AVI ", b"AVIX"), _riff),
    (lambda head: head.startswith(b"FLV\x01"), _flv),
    (lambda head: head.startswith(b"OggS"), _ogg),
    (lambda head: head.startswith((b"GIF87a", b"GIF89a")), _gif),
    (lambda head: head.startswith(b"\0\0\1\xba"), _mpeg_ps),
    (lambda head: head.startswith(bytes.fromhex("3026b2758e66cf11")), _asf),
    (lambda head: PARTITION in head, _mxf),
    (lambda head: head.startswith(b"DKIF") and len(head) >= 32, _ivf),
    (lambda head: head.startswith(b".RMF"), _real_media),
    (_ts_packet, _mpeg_ts),
)
