# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import sys
from pathlib import Path

import numpy as np
import pytest

from ata_mm.video import VideoError, why_not_decord
from ata_mm.video.containers import (
    declared_size,
    is_gif_without_end,
    is_mp4_without_index,
    read_mp4,
)
from ata_mm.video.files import check_video_file

sys.path.append(str(Path(__file__).parent))
from made import copy_video, make_video, pipe_video


def made(path, **options):
    codec = {
        '.webm': 'libvpx',
        '.wmv': 'wmv2',
        '.flv': 'flv',
        '.avi': 'mpeg4',
    }.get(path.suffix, 'libx264')
    return make_video(path, codec, frames=20, **options)


@pytest.mark.parametrize(
    'suffix', ['mp4', 'mov', 'mkv', 'webm', 'avi', 'flv', 'wmv']
)
def test_whole_files_have_the_size_that_they_declare(suffix, tmp_path):
    path = made(tmp_path / f'a.{suffix}')
    assert declared_size(str(path)) == path.stat().st_size


@pytest.mark.parametrize(
    'suffix', ['mp4', 'mov', 'mkv', 'webm', 'avi', 'flv', 'wmv']
)
@pytest.mark.parametrize('share', [0.3, 0.6, 0.9])
def test_truncated_files_declare_more(suffix, share, tmp_path):
    path = made(tmp_path / f'a.{suffix}')
    data = path.read_bytes()[: int(path.stat().st_size * share)]
    path.write_bytes(data)
    assert declared_size(str(path)) > len(data)


@pytest.mark.parametrize('container', ['matroska', 'mpegts'])
def test_recordings_declare_no_size(container, tmp_path):
    whole = made(tmp_path / 'a.mp4')
    path = pipe_video(whole, tmp_path / 'piped', container)
    assert declared_size(str(path)) is None


def test_bytes_after_the_last_box_are_ignored(tmp_path):
    path = made(tmp_path / 'a.mp4')
    size = path.stat().st_size
    with open(path, 'ab') as file:
        file.write(bytes(100))
    assert declared_size(str(path)) == size


def test_mp4_whose_recording_was_interrupted(tmp_path):
    path = made(tmp_path / 'a.mp4')
    assert not is_mp4_without_index(str(path))
    data = path.read_bytes()
    path.write_bytes(data[: data.find(b'moov') - 4])
    assert is_mp4_without_index(str(path))


def test_gif_that_was_cut_off(tmp_path):
    path = make_video(tmp_path / 'a.gif', 'gif', pix_fmt='rgb8')
    data = path.read_bytes()
    assert not is_gif_without_end(str(path))
    path.write_bytes(data + bytes(100))
    assert not is_gif_without_end(str(path))
    path.write_bytes(data[:-1])
    assert is_gif_without_end(str(path))
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(VideoError, match='lacks the byte that ends a GIF'):
        check_video_file(str(path))


@pytest.mark.parametrize(
    'name, options, reason',
    [
        ('a.mp4', {}, ''),
        ('a.mov', dict(b_frames=0), ''),
        ('a.mp4', dict(options={'x264-params': 'b-pyramid=none'}), ''),
        ('a.avi', {}, 'container'),
        ('a.mkv', {}, 'container'),
        ('a.mp4', dict(pix_fmt='yuv420p10le'), 'codec'),
        ('a.mp4', dict(size=(48, 48)), 'narrower'),
        ('a.mp4', dict(turns=1), 'rotated'),
        (
            'a.mp4',
            dict(options={'x264-params': 'open-gop=1:scenecut=0:keyint=6'}),
            'open groups',
        ),
        ('a.mp4', dict(container=dict(movflags='frag_keyframe')), 'container'),
    ],
)
def test_reasons_against_decord(name, options, reason, tmp_path):
    found = why_not_decord(str(made(tmp_path / name, **options)))
    assert reason in found and bool(reason) == bool(found)


def test_cut_files_are_not_for_decord(tmp_path):
    whole = made(tmp_path / 'a.mp4')
    path = copy_video(whole, tmp_path / 'cut.mp4', start=7)
    assert 'edit list' in why_not_decord(str(path))


@pytest.mark.parametrize('table', [b'stco', b'stts', b'stsz', b'stsc'])
def test_broken_tables_are_not_for_decord(table, tmp_path):
    path = made(tmp_path / 'a.mp4')
    data = bytearray(path.read_bytes())
    start = data.find(table) + 12
    data[start : start + 8] = b'\x7f' * 8
    path.write_bytes(data)
    assert why_not_decord(str(path))


def test_times_of_an_index(tmp_path):
    fixed = {'x264-params': 'scenecut=0'}
    track = read_mp4(str(made(tmp_path / 'a.mp4', options=fixed)))
    assert track is not None and len(track.pts) == 20
    assert len(np.unique(np.diff(np.sort(track.pts)))) == 1
    assert track.keys.tolist() == [0, 12]


def test_damaged_first_box_declares_no_size(tmp_path):
    path = made(tmp_path / 'a.mp4')
    path.write_bytes(bytes(3) + b'\x02' + path.read_bytes()[4:])
    assert declared_size(str(path)) is None
    assert is_mp4_without_index(str(path))
