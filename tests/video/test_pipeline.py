# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest

from ata_mm.apis import load_config
from ata_mm.video import VideoError
from ata_mm.video.pipeline import (
    FilePipeline,
    count_views,
    parse_views,
    set_views,
    step_names,
    with_suffix,
)


@pytest.fixture
def cfg(tiny_config):
    return load_config(tiny_config)


@pytest.mark.parametrize('text', ['3x4', '3×4'])
def test_crops_come_before_clips(text):
    assert parse_views(text) == (3, 4)


@pytest.mark.parametrize('text', ['3', '3x', 'x', '3x1x1', '-3x1'])
def test_refuses_other_texts_than_numbers_of_views(text):
    with pytest.raises(ValueError, match='CROPSxCLIPS, such as 3x1'):
        parse_views(text)


def test_pipeline_takes_the_views(cfg):
    set_views(cfg, crops=1, clips=4)
    _, sample, _, _, crop, _, _ = cfg.test_dataloader.dataset.pipeline
    assert sample.num_clips == 4
    assert crop == dict(type='CenterCrop', crop_size=32)


@pytest.mark.parametrize('crops, clips', [(3, 1), (1, 4), (10, 2)])
def test_views_are_counted(cfg, crops, clips):
    set_views(cfg, crops, clips)
    assert count_views(cfg) == crops * clips


def test_frames_of_a_2d_recognizer_are_no_views(cfg):
    cfg.test_dataloader.dataset.pipeline[1].update(clip_len=1, num_clips=8)
    assert count_views(cfg) == 3  # crops


@pytest.mark.parametrize('crops, clips', [(2, 1), (3, 0)])
def test_refuses_other_numbers(cfg, crops, clips):
    with pytest.raises(ValueError, match='Expected 1, 3 or 10 crops of 1'):
        set_views(cfg, crops, clips)


def test_refuses_a_pipeline_without_a_crop(cfg):
    del cfg.test_dataloader.dataset.pipeline[4]
    with pytest.raises(ValueError, match='Expected one of CenterCrop'):
        set_views(cfg, 1, 1)


def test_refuses_three_crops_of_a_longer_short_side(cfg):
    cfg.test_dataloader.dataset.pipeline[3].scale = (-1, 40)
    with pytest.raises(ValueError, match='a short side of as many'):
        set_views(cfg, 3, 1)


def test_refuses_to_change_the_frames_of_a_2d_recognizer(cfg):
    cfg.test_dataloader.dataset.pipeline[1].update(clip_len=1, num_clips=8)
    with pytest.raises(ValueError, match='frames of this 2D recognizer'):
        set_views(cfg, 1, 1)


def test_step_names_have_no_scope():
    steps = [dict(type='mmaction.Flip'), dict(type='CenterCrop')]
    assert step_names(steps) == ['Flip', 'CenterCrop']


def run(path, *, after=()):
    """Run a pipeline that samples a clip over seven frames."""
    steps = [
        dict(type='VideoInit'),
        dict(type='SampleFrames', clip_len=4, frame_interval=2),
        dict(type='VideoDecode'),
        *after,
    ]
    data = dict(filename=str(path), label=0, start_index=0, modality='RGB')
    return FilePipeline(steps)(data)


@pytest.mark.parametrize('frames', [6, 7])
def test_warns_of_fewer_frames_than_a_clip(
    frames, write_video, tmp_path, recwarn
):
    write_video(tmp_path / 'a.mp4', num_frames=frames)
    assert len(run(tmp_path / 'a.mp4')['imgs']) == 4
    short = [w for w in recwarn if f'a.mp4 has {frames} frames' in str(w)]
    assert len(short) == (frames < 7)


def test_short_videos_can_be_collected(write_video, tmp_path):
    write_video(tmp_path / 'a.mp4', num_frames=3)
    found = []
    step = dict(type='SampleFrames', clip_len=4, frame_interval=1)
    FilePipeline(
        [dict(type='VideoInit'), step], lambda *short: found.append(short)
    )(dict(filename=str(tmp_path / 'a.mp4'), start_index=0))
    assert [(video[-5:], reason[:12]) for video, reason in found] == [
        ('a.mp4', 'has 3 frames')
    ]


def test_errors_of_reading_name_the_file(tmp_path):
    (tmp_path / 'a.mp4').write_bytes(b'junk')
    with pytest.raises(VideoError, match=r'a\.mp4'):
        run(tmp_path / 'a.mp4')


def test_errors_after_reading_are_kept(video_root):
    def fail(results):
        raise KeyError('scale')

    with pytest.raises(KeyError, match='scale'):
        run(video_root / '0.mp4', after=[fail])


def test_a_missing_file_is_named_as_it_was_given(tmp_path):
    with pytest.raises(FileNotFoundError, match='nope does not exist'):
        run(tmp_path / 'nope')
    assert with_suffix('s3://b/nope', is_local=False) == 's3://b/nope.mp4'


@pytest.mark.parametrize('init', ['DecordInit', 'OpenCVInit'])
def test_errors_of_stock_decoders_name_the_file(init, tmp_path):
    (tmp_path / 'a.mp4').write_bytes(b'junk')
    steps = [
        dict(type=init),
        dict(type='SampleFrames', clip_len=4),
        dict(type=init.replace('Init', 'Decode')),
    ]
    data = dict(filename=str(tmp_path / 'a.mp4'), start_index=0)
    with pytest.raises(VideoError, match=r'a\.mp4 cannot be decoded'):
        FilePipeline(steps)(data)
