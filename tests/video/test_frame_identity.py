# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Every decoder gives the frames asked for, or a clear word."""

import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ata_mm.video import FrameSource, VideoError, open_video

sys.path.append(str(Path(__file__).parent))
from made import (
    FRAMES,
    copy_video,
    leave_unfinished,
    make_video,
    number_of,
    pipe_video,
)


def _x265(text='', **options):
    text = f'log-level=none:{text}'.rstrip(':')
    return dict(codec='libx265', options={'x265-params': text, **options})


def _open_gop():
    return dict(options={'x264-params': 'open-gop=1:scenecut=0:keyint=12'})


def _unfinished_avi(source, path, size):
    leave_unfinished(make_video(path), size)


VFR = [2 * n + n // 7 * 5 for n in range(FRAMES)]

FILES = {
    'h264.mp4': {},
    'h264.mov': {},
    'h264.mkv': {},
    'h264.avi': {},
    'h264.ts': {},
    'h264.flv': {},
    'h264_without_b.avi': dict(b_frames=0),
    'h264_without_b.mp4': dict(b_frames=0),
    'h264_many_b.mp4': dict(b_frames=8),
    'h264_intra.mp4': dict(gop=1, b_frames=0),
    'h264_open_gop.mp4': _open_gop(),
    'h264_open_gop.mkv': _open_gop(),
    'h264_refresh.mp4': dict(options={'x264-params': 'intra-refresh=1'}),
    'h264_interlaced.mp4': dict(options={'x264-params': 'tff=1'}),
    'h264_fragments.mp4': dict(
        container=dict(movflags='frag_keyframe+empty_moov')
    ),
    'h264_faststart.mp4': dict(container=dict(movflags='faststart')),
    'h264_no_edit_list.mp4': dict(container=dict(use_editlist='0')),
    'h264_10_bit.mp4': dict(pix_fmt='yuv420p10le'),
    'h264_444.mp4': dict(pix_fmt='yuv444p'),
    'h264_vfr.mp4': dict(times=VFR),
    'h264_vfr.mkv': dict(times=VFR),
    'h264_turned_left.mp4': dict(turns=1),
    'h264_turned_right.mp4': dict(turns=3),
    'h264_upside_down.mov': dict(turns=2),
    'h264_16_wide.mp4': dict(size=(16, 16)),
    'h264_48_wide.mp4': dict(size=(48, 48)),
    'h264_72_wide.mp4': dict(size=(72, 72)),
    'h264_82_wide.mp4': dict(size=(82, 50)),
    'h264_odd.mp4': dict(size=(131, 97), pix_fmt='yuv444p'),
    'hevc.mp4': _x265('keyint=12'),
    'hevc_open_gop.mkv': _x265('keyint=12:open-gop=1'),
    'mpeg2.mpg': dict(codec='mpeg2video'),
    'mpeg2.ts': dict(codec='mpeg2video'),
    'mpeg2.mkv': dict(codec='mpeg2video'),
    'mpeg4.avi': dict(codec='mpeg4'),
    'mpeg4.mp4': dict(codec='mpeg4'),
    'mpeg4_without_b.avi': dict(codec='mpeg4', b_frames=0),
    'vp8.webm': dict(codec='libvpx'),
    'vp9.webm': dict(codec='libvpx-vp9', options=dict(deadline='realtime')),
    'vp9.mp4': dict(codec='libvpx-vp9', options=dict(deadline='realtime')),
    'vp9_alpha.webm': dict(
        codec='libvpx-vp9',
        pix_fmt='yuva420p',
        options=dict(deadline='realtime'),
    ),
    'av1.mp4': dict(codec='libsvtav1', options=dict(preset='8', crf='10')),
    'av1.webm': dict(codec='libsvtav1', options=dict(preset='8', crf='10')),
    'mjpeg.avi': dict(codec='mjpeg', pix_fmt='yuvj420p'),
    'mjpeg.mov': dict(codec='mjpeg', pix_fmt='yuvj420p'),
    'flv1.flv': dict(codec='flv'),
    'wmv2.wmv': dict(codec='wmv2'),
    'gif.gif': dict(codec='gif', pix_fmt='rgb8'),
}
CUT = 17  # the first frame after a cut that is not at a key frame
DERIVED = {
    'cut.mp4': ('mp4', partial(copy_video, start=CUT), CUT),
    'cut.mov': ('mov', partial(copy_video, start=CUT), CUT),
    'cut_at_key.mp4': ('mp4', partial(copy_video, start=12), 12),
    'piped.avi': ('mp4', partial(_unfinished_avi, size=2**32 - 1), 0),
    'recorded.avi': ('mp4', partial(_unfinished_avi, size=0), 0),
    'piped.mkv': ('mp4', partial(pipe_video, container='matroska'), 0),
    'piped.ts': ('mp4', partial(pipe_video, container='mpegts'), 0),
}
NAMES = [*FILES, *DERIVED]


def _has_torchcodec():
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, OSError, RuntimeError):
        return False
    return True


# See test_torchcodec.py for an environment that has it.
DECODERS = ['auto', 'pyav', 'decord', 'opencv']
DECODERS += ['torchcodec'] * _has_torchcodec()


# What a decoder that refuses some files has to read at least.
READ = dict(
    decord={
        'h264.mp4',
        'h264.mov',
        'h264_without_b.mp4',
        'h264_many_b.mp4',
        'h264_intra.mp4',
        'h264_faststart.mp4',
        'h264_no_edit_list.mp4',
        'h264_vfr.mp4',
        'h264_82_wide.mp4',
        'mjpeg.mov',
    },
    opencv={
        name
        for name in FILES
        if name != 'h264_interlaced.mp4' and 'av1' not in name
    },
    torchcodec={'h264.mp4', 'h264.mov', 'h264.mkv', 'h264.flv'},
)


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """Make a video on first use; return its path and its first number."""
    folder = tmp_path_factory.mktemp('made')

    def make(name):
        path = folder / name
        if name in FILES:
            first = 0
            if not path.exists():
                make_video(path, **FILES[name])
        else:
            suffix, function, first = DERIVED[name]
            whole = folder / f'whole.{suffix}'
            if not whole.exists():
                make_video(whole)
            if not path.exists():
                function(whole, path)
        return str(path), first

    return make


@pytest.mark.parametrize('decoder', DECODERS)
@pytest.mark.parametrize('name', NAMES)
def test_frames_are_those_asked_for_or_refused(name, decoder, made):
    video, first = made(name)
    try:
        with open_video(video, decoder) as reader:
            # Alone: a decoder may fail at others.
            assert number_of(reader.frames([5])[0]) == 5 + first
            asked = np.random.default_rng(0).permutation(len(reader))
            frames = reader.frames(asked)
    except VideoError as error:
        assert name not in READ.get(decoder, NAMES)
        assert "decoder='auto'" in error.remedy
        return
    assert [number_of(frame) for frame in frames] == (asked + first).tolist()
    assert len(frames) == FRAMES - first


@pytest.mark.parametrize('name', NAMES)
def test_frames_in_order_are_all(name, made):
    video, first = made(name)
    with FrameSource(video) as source:
        numbers = [number_of(frame) for frame in source]
    assert numbers == list(range(first, FRAMES))


@pytest.mark.parametrize('name', NAMES)
def test_times_increase(name, made):
    video, _ = made(name)
    with open_video(video) as reader:
        times = reader.timestamps
        assert len(times) == len(reader)
        assert (np.diff(times) > 0).all()


def test_the_encoder_of_av1_leaves_priorities(made):
    made('av1.mp4')
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_opencv_refuses_interlaced_video_before_it_decodes(made):
    video, _ = made('h264_interlaced.mp4')
    with pytest.raises(VideoError, match='is interlaced, which OpenCV'):
        open_video(video, 'opencv')
