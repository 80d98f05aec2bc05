# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Read the structure of video containers without decoding.

What is checked here decides before a decoder runs: whether a file ends before
the data that its header declares, and whether decord can be trusted with it.
"""

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np

_MP4_TOP_LEVEL = {b'ftyp', b'moov', b'mdat', b'moof', b'mfra', b'sidx'}
_LARGEST_INDEX = 2**28  # bytes of a moov box that are read
_ASF_HEADER = bytes.fromhex('3026b2758e66cf11')
_ASF_PROPERTIES = bytes.fromhex('a1dcab8c47a9cf118ee400c00c205365')

# decord returns rows of these widths with padding, and fails: measured for
# 16, 24, 48 and 72.
_NARROW = 80


class Mp4Track(NamedTuple):
    """Sample table of the video track of an mp4 or mov file.

    Args:
        codec (str): Four-character code, such as ``'avc1'``.
        profile (int, optional): H.264 profile; None of other codecs.
        width (int): Width in pixels.
        pts (np.ndarray): Presentation times of the samples in decoding order,
            in units of the track.
        keys (np.ndarray): Indices of the key frames in decoding order.
        end (int): Byte after the last sample of the file.
        refreshes (bool): Whether decoding can start anew at each H.264 key
            frame, an IDR picture; True of other codecs.
        trimmed (bool): Whether an edit list drops or repeats frames.
        rotated (bool): Whether frames are rotated or mirrored for display.
    """

    codec: str
    profile: int | None
    width: int
    pts: np.ndarray
    keys: np.ndarray
    end: int
    refreshes: bool
    trimmed: bool
    rotated: bool


def declared_size(video: str) -> int | None:
    """Return the number of bytes that a file has to have.

    Args:
        video (str): A file of any container.

    Returns:
        int | None: The size that the headers of an AVI, ASF, FLV, Matroska,
        mp4 or WebM file declare; None of other containers and of files whose
        size was unknown when they were written, such as recordings.
    """
    with open(video, 'rb') as file:
        head = file.read(16)
        if head[:4] == b'RIFF':
            return _riff_size(file)
        if head[:4] == b'\x1aE\xdf\xa3':
            return _matroska_size(file)
        if head[:3] == b'FLV':
            return _flv_size(file)
        if head[:8] == _ASF_HEADER:
            return _asf_size(file)
        if head[4:8] in _MP4_TOP_LEVEL:
            ends = (start + size for _, start, size in _boxes(file))
            return max(ends, default=None)
    return None


def is_mp4_without_index(video: str) -> bool:
    """Return whether an mp4 or mov file lacks the index to its frames.

    Recorders write the index last. A file without one cannot be decoded.

    Args:
        video (str): A file of any container.

    Returns:
        bool: True of an mp4 or mov file with neither 'moov' nor 'moof'.
    """
    with open(video, 'rb') as file:
        if file.read(8)[4:] not in _MP4_TOP_LEVEL:
            return False
        return not {b'moov', b'moof'} & {name for name, _, _ in _boxes(file)}


def is_gif_without_end(video: str) -> bool:
    """Return whether a file is a GIF that was cut off.

    Args:
        video (str): The file.
    """
    with open(video, 'rb') as file:
        if file.read(4) != b'GIF8':
            return False
        file.seek(-min(file.seek(0, 2), 4096), 2)
        return not file.read().rstrip(b'\0').endswith(b';')


def why_not_decord(video: str) -> str:
    """Return why decord 0.6.0 cannot be trusted with a file.

    decord counts packets, and finds frames by the times that the container
    gives them: see the table in the guide on videos for where that goes
    wrong. It is trusted with mp4 and mov files of H.264 or Motion JPEG whose
    index is complete and has closed groups of pictures.

    Args:
        video (str): The file.

    Returns:
        str: The reason, such as ``'its container is not mp4 or mov'``; ''
        if decord is right for this file.
    """
    try:
        track = read_mp4(video)
    except (ArithmeticError, LookupError, ValueError, struct.error):
        return 'its index is inconsistent'
    if track is None:
        return 'its container is not mp4 or mov with one index'
    closed = np.minimum.accumulate(track.pts[::-1])[::-1] >= track.pts
    reasons = {
        'its codec is not 8-bit H.264 or Motion JPEG': not _is_old(track),
        f'it is narrower than {_NARROW} pixels': track.width < _NARROW,
        'it is rotated or mirrored for display': track.rotated,
        'its edit list drops frames': track.trimmed,
        'frames share a time': len(np.unique(track.pts)) < len(track.pts),
        'it does not start with a key frame': 0 not in track.keys,
        'it has open groups of pictures': not (
            track.refreshes and np.all(closed[track.keys])
        ),
        'its index points past its end': track.end > os.path.getsize(video),
    }
    return next((reason for reason, holds in reasons.items() if holds), '')


def read_mp4(video: str) -> Mp4Track | None:
    """Read the sample table of an mp4 or mov file.

    Args:
        video (str): The file.

    Returns:
        Mp4Track | None: The only video track; None if the file has another
        container, several video tracks, fragments, or no index.

    Raises:
        ArithmeticError, LookupError, ValueError, struct.error: If the tables
            are inconsistent.
    """
    with open(video, 'rb') as file:
        if file.read(8)[4:] not in _MP4_TOP_LEVEL:
            return None
        places = {name: (start, size) for name, start, size in _boxes(file)}
        start, size = places.get(b'moov', (0, 0))
        if not 8 < size <= _LARGEST_INDEX or b'moof' in places:
            return None
        file.seek(start)
        moov = _parse(memoryview(file.read(size))[8:])
        tracks = [_parse(track) for track in moov.get(b'trak', [])]
        videos = [track for track in tracks if _handler(track) == b'vide']
        if len(videos) != 1 or b'mvex' in moov:
            return None
        return _track(file, moov, videos[0])


_Boxes = dict[bytes, list[memoryview]]


def _track(file: BinaryIO, moov: _Boxes, track: _Boxes) -> Mp4Track:
    """Decode the tables of a track."""
    media = _parse(track[b'mdia'][0])
    table = _parse(_parse(media[b'minf'][0])[b'stbl'][0])
    entry = table[b'stsd'][0][8:]
    codec = bytes(entry[4:8]).decode('latin-1')
    avc = _parse(entry[86:]).get(b'avcC', [])
    file_size = file.seek(0, os.SEEK_END)
    sizes = _sample_sizes(table[b'stsz'][0], file_size)
    starts = _sample_starts(table, sizes)
    steps = _runs(table[b'stts'][0], len(sizes), '>u4')
    pts = np.cumsum(steps) - steps
    if b'ctts' in table:
        pts = pts + _runs(table[b'ctts'][0], len(sizes), '>i4')
    keys = np.arange(len(sizes))
    if b'stss' in table:
        keys = _array(table[b'stss'][0], 8, '>u4') - 1
    if len(sizes) == 0 or len(keys) == 0 or keys.max() >= len(sizes):
        raise ValueError('a table of samples is empty or too long')
    return Mp4Track(
        codec,
        avc[0][1] if avc else None,
        struct.unpack_from('>H', entry, 32)[0],
        pts,
        keys,
        int((starts + sizes).max()),
        not avc
        or all(
            _is_idr(file, starts[key], sizes[key], (avc[0][4] & 3) + 1)
            for key in keys.tolist()
        ),
        _is_trimmed(moov, track, media, pts),
        # A player applies both matrices.
        _is_rotated(track[b'tkhd'][0], 40)
        or _is_rotated(moov[b'mvhd'][0], 36),
    )


def _is_old(track: Mp4Track) -> bool:
    """Return whether FFmpeg 4, inside decord, decodes the codec rightly."""
    if track.codec == 'avc1':
        return track.profile in (66, 77, 88, 100)  # up to High, 8 bit
    return track.codec in ('jpeg', 'mjpa')


def _boxes(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and size of the top-level boxes of an mp4 file."""
    end, start = file.seek(0, os.SEEK_END), 0
    while start + 8 <= end:
        file.seek(start)
        head = file.read(16)
        size, name = int.from_bytes(head[:4], 'big'), head[4:8]
        if size == 1:
            size = int.from_bytes(head[8:], 'big')
        if size == 0:
            size = end - start
        if size < 8 or not name.isascii() or not name.strip(b'\0'):
            return  # padding after the last box
        if start + size > end and name not in _MP4_TOP_LEVEL:
            return
        yield name, start, size
        start += size


def _parse(data: memoryview) -> _Boxes:
    """Split the payload of a box into boxes, by name."""
    boxes: _Boxes = {}
    start = 0
    while start + 8 <= len(data):
        size, name = struct.unpack_from('>I4s', data, start)
        if size < 8:
            break
        boxes.setdefault(name, []).append(data[start + 8 : start + size])
        start += size
    return boxes


def _handler(track: _Boxes) -> bytes:
    media = _parse(track[b'mdia'][0])
    return bytes(media[b'hdlr'][0][8:12])


def _array(payload: memoryview, start: int, kind: str) -> np.ndarray:
    """Return the numbers of a table from a byte on, as int64."""
    width = np.dtype(kind).itemsize
    count = (len(payload) - start) // width
    return np.frombuffer(payload, kind, count, start).astype(np.int64)


def _runs(payload: memoryview, number: int, kind: str) -> np.ndarray:
    """Expand a table of (count, value)."""
    pairs = _array(payload, 8, kind).reshape(-1, 2)
    counts = pairs[:, 0]
    if counts.min(initial=0) < 0 or counts.sum() != number:
        raise ValueError('the number of times is not that of samples')
    return np.repeat(pairs[:, 1], counts)


def _sample_sizes(payload: memoryview, file_size: int) -> np.ndarray:
    size, number = struct.unpack_from('>II', payload, 4)
    if number > file_size:
        raise ValueError('there are more samples than bytes')
    return np.full(number, size) if size else _array(payload, 12, '>u4')


def _sample_starts(table: _Boxes, sizes: np.ndarray) -> np.ndarray:
    """Return the position of each sample in the file."""
    if b'co64' in table:
        chunks = _array(table[b'co64'][0], 8, '>i8')
    else:
        chunks = _array(table[b'stco'][0], 8, '>u4')
    runs = _array(table[b'stsc'][0], 8, '>u4').reshape(-1, 3)
    lengths = np.diff(np.append(runs[:, 0] - 1, len(chunks)))
    samples = np.repeat(runs[:, 1], lengths)  # of each chunk
    if samples.sum() != len(sizes) or samples.min() < 1:
        raise ValueError('the chunks do not hold all samples')
    first = np.cumsum(samples) - samples
    before = np.cumsum(sizes) - sizes
    return np.repeat(chunks - before[first], samples) + before


def _is_idr(file: BinaryIO, start: int, size: int, length: int) -> bool:
    """Return whether the first slice of an H.264 sample is of an IDR."""
    place, end = int(start), int(start + size)
    while place < end:
        file.seek(place)
        head = file.read(length + 1)
        kind = head[length] & 31
        if kind <= 5:
            return kind == 5
        place += length + int.from_bytes(head[:length], 'big')
    return False


def _is_trimmed(
    moov: _Boxes, track: _Boxes, media: _Boxes, pts: np.ndarray
) -> bool:
    """Return whether an edit list shows other frames than all in order."""
    if b'edts' not in track:
        return False
    edits = _parse(track[b'edts'][0])[b'elst'][0]
    fields = '>qq' if edits[0] else '>ii'
    if struct.unpack_from('>I', edits, 4)[0] != 1:
        return True
    duration, start = struct.unpack_from(fields, edits, 8)
    last = (pts.max() - start) / _time_scale(media[b'mdhd'][0])
    lasts = duration / _time_scale(moov[b'mvhd'][0])
    return start != pts.min() or 0 < lasts <= last


def _time_scale(payload: memoryview) -> int:
    """Return the units per second in a media or movie header."""
    return struct.unpack_from('>I', payload, 20 if payload[0] else 12)[0]


def _is_rotated(header: memoryview, start: int) -> bool:
    """Return whether the matrix of a header is not that of upright frames.

    Args:
        header (memoryview): Of a track or movie.
        start (int): Place of the matrix; 12 bytes later with long times.
    """
    matrix = struct.unpack_from('>9i', header, start + 12 * bool(header[0]))
    return matrix[:2] + matrix[3:5] != (65536, 0, 0, 65536)


def _riff_size(file: BinaryIO) -> int | None:
    """Return the end of the last RIFF list; large AVIs have several."""
    end, start = file.seek(0, os.SEEK_END), 0
    while start + 8 <= end:
        file.seek(start)
        head = file.read(8)
        size = int.from_bytes(head[4:], 'little')
        if head[:4] != b'RIFF':
            break
        if size in (0, 2**32 - 1):  # a pipe, or a recorder that was stopped
            return None
        start += 8 + size
    return start


def _matroska_size(file: BinaryIO) -> int | None:
    """Return the end of the segment of a Matroska or WebM file."""
    file.seek(0)
    head, start = file.read(4096), 0
    while start + 12 <= len(head):
        is_segment = head[start : start + 4] == b'\x18S\x80g'
        start += _vint_length(head[start])
        length = _vint_length(head[start])
        bits = 7 * length
        size = int.from_bytes(head[start : start + length], 'big')
        size &= (1 << bits) - 1
        start += length
        if is_segment:
            return None if size == (1 << bits) - 1 else start + size
        start += size
    return None


def _vint_length(first: int) -> int:
    """Return the bytes of a number of EBML from its first byte."""
    return 9 - first.bit_length() if first else 8


def _flv_size(file: BinaryIO) -> int | None:
    """Return the file size in the metadata of an FLV file."""
    file.seek(0)
    head = file.read(65536)
    place = head.find(b'filesize\0')
    if place < 0 or place + 17 > len(head):
        return None
    size = struct.unpack_from('>d', head, place + 9)[0]
    return int(size) if 0 < size < 2**53 else None


def _asf_size(file: BinaryIO) -> int | None:
    """Return the file size in the properties of an ASF or WMV file."""
    file.seek(0)
    head = file.read(65536)
    place = head.find(_ASF_PROPERTIES)
    if place < 0 or place + 92 > len(head):
        return None
    size, is_live = (
        struct.unpack_from('<Q', head, place + 40)[0],
        head[place + 88] & 1,
    )
    return None if is_live else size
