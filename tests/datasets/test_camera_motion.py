# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import json
import os
from pathlib import Path

import decord
import numpy as np
import pytest
from mmaction.datasets import VideoDataset
from mmaction.registry import DATASETS

from ata_mm.datasets import (
    CLASSES,
    CameraMotionDataset,
    MovingObjectsDataset,
    render_clip,
    rendered,
)

SMALL = dict(num_videos=dict(train=8), num_frames=6, size=(32, 16))
SPLIT = dict(num_videos=8, num_frames=4, size=(32, 16), pipeline=[])


def contents(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob('*')
        if path.is_file()
    }


@pytest.fixture
def data(tmp_path):
    CameraMotionDataset.make(str(tmp_path), **SMALL)
    return tmp_path


def test_files_of_a_split(data):
    videos = {f'train/{i:05d}.mp4' for i in range(8)}
    assert set(contents(data)) == videos | {
        'train.txt',
        'train.json',
        'classes.txt',
    }


def test_classes_are_balanced_and_named(data):
    lines = (data / 'train.txt').read_text().splitlines()
    assert sorted(int(line.split()[1]) for line in lines) == list(range(8))
    assert (data / 'classes.txt').read_text().splitlines() == list(CLASSES)


def test_mmaction_reads_it_with_its_own_pipeline(data):
    dataset = VideoDataset(
        'train.txt',
        data_root=str(data),
        pipeline=[
            dict(type='mmaction.DecordInit'),
            dict(type='mmaction.SampleFrames', clip_len=4, num_clips=1),
            dict(type='mmaction.DecordDecode'),
            dict(type='mmaction.FormatShape', input_format='NCTHW'),
            dict(type='mmaction.PackActionInputs'),
        ],
    )
    assert len(dataset) == 8
    assert dataset[0]['inputs'].shape == (1, 3, 4, 16, 32)


def test_every_frame_survives_the_video(tmp_path):
    parameters = dict(num_frames=16, size=(64, 48), speed=(4.0, 8.0), seed=0)
    path = str(tmp_path / 'a.mp4')
    CameraMotionDataset.write_video(path, 'val', 3, 1, parameters)
    decoded = decord.VideoReader(path)
    expected = render_clip(rendered._rng(0, 'val', 4), 1)
    decoded = decoded.get_batch(range(len(decoded))).asnumpy()
    errors = (decoded.astype(float) - expected) ** 2
    assert (10 * np.log10(255**2 / errors.mean((1, 2, 3))) > 28).all()


def test_frames_are_coded_one_by_one(data):
    reader = decord.VideoReader(str(data / 'train/00000.mp4'))
    assert list(reader.get_key_indices()) == list(range(6))


def test_the_same_seed_makes_the_same_files(data, tmp_path_factory):
    other = tmp_path_factory.mktemp('other')
    CameraMotionDataset.make(str(other), **SMALL)
    assert contents(other) == contents(data)


def test_complete_files_are_not_written_again(data):
    before = {p: p.stat().st_mtime_ns for p in data.rglob('*')}
    CameraMotionDataset.make(str(data), **SMALL)
    assert {p: p.stat().st_mtime_ns for p in data.rglob('*')} == before


@pytest.mark.parametrize(
    'damage',
    [
        lambda root: (root / 'train/00003.mp4').unlink(),
        lambda root: os.truncate(root / 'train/00003.mp4', 99),
        lambda root: (root / 'train.txt').unlink(),
        lambda root: (root / 'train.json').unlink(),
        lambda root: os.truncate(root / 'train.json', 9),
        lambda root: (root / 'train.json').write_bytes(b'\xff'),
    ],
)
def test_damaged_files_are_restored(data, damage):
    before = contents(data)
    damage(data)
    CameraMotionDataset.make(str(data), **SMALL)
    assert contents(data) == before


def test_only_the_damaged_video_is_restored(data):
    other = data / 'train/00002.mp4'
    before = other.stat().st_mtime_ns
    (data / 'train/00003.mp4').unlink()
    CameraMotionDataset.make(str(data), **SMALL)
    assert other.stat().st_mtime_ns == before


def test_other_parameters_in_the_same_folder_are_an_error(data):
    with pytest.raises(ValueError, match='got seed=0 instead of 1.*Delete'):
        CameraMotionDataset.make(str(data), **SMALL, seed=1)


def without_name(data):
    """Change the manifest to that of an earlier version."""
    record = json.loads((data / 'train.json').read_text())
    del record['parameters']['name']
    (data / 'train.json').write_text(json.dumps(record))


@pytest.mark.parametrize('change', [lambda data: None, without_name])
def test_videos_of_another_data_set_are_an_error(data, change):
    change(data)
    with pytest.raises(ValueError, match='got name=.* instead of moving obj'):
        MovingObjectsDataset.make(str(data), **SMALL)


def test_folders_of_earlier_versions_stay_valid(data):
    before = contents(data)
    without_name(data)
    video = data / 'train/00002.mp4'
    written = video.stat().st_mtime_ns
    CameraMotionDataset.make(str(data), **SMALL)
    assert contents(data) == before
    assert video.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    'wrong',
    [
        dict(speed=(5.0, 4.0)),
        dict(size=(33, 16)),
        dict(num_frames=1),
        dict(num_videos=dict(train=0)),
    ],
)
def test_parameters_out_of_range_are_an_error(tmp_path, wrong):
    with pytest.raises(ValueError, match=f'Expected {list(wrong)[0]}'):
        CameraMotionDataset.make(str(tmp_path), **{**SMALL, **wrong})


def test_nothing_is_printed_on_stderr(tmp_path, capfd):
    CameraMotionDataset.make(str(tmp_path), **SMALL)
    assert 'OpenCV' not in capfd.readouterr().err


def test_a_config_makes_the_videos(tmp_path):
    cfg = dict(
        type='CameraMotionDataset', data_root=str(tmp_path), split='val'
    )
    dataset = DATASETS.build(dict(**cfg, **SPLIT))
    assert len(dataset) == 8 and dataset.metainfo['classes'] == CLASSES
    assert dataset[0]['filename'].endswith('val/00000.mp4')


def test_splits_share_a_folder(tmp_path):
    train, val = (
        CameraMotionDataset(str(tmp_path), split, **SPLIT)
        for split in ('train', 'val')
    )
    first, other = (Path(data[0]['filename']) for data in (train, val))
    assert first.read_bytes() != other.read_bytes()


def test_an_unknown_split_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="train.*val.*got 'none'"):
        CameraMotionDataset(str(tmp_path), 'none', **SPLIT)


def test_videos_carry_their_speed(tmp_path):
    dataset = CameraMotionDataset(str(tmp_path), 'val', speed=(2, 18), **SPLIT)
    path = str(tmp_path / 'one_speed.mp4')
    parameters = dict(num_frames=4, size=(32, 16), seed=0)
    for i in (0, 5):
        video = dataset[i]
        parameters['speed'] = (video['speed'],) * 2
        label = video['label']
        CameraMotionDataset.write_video(path, 'val', i, label, parameters)
        expected = Path(video['filename']).read_bytes()
        assert Path(path).read_bytes() == expected


def test_true_motion_is_the_same_at_every_call(tmp_path):
    video = CameraMotionDataset(str(tmp_path), 'val', **SPLIT)[0]
    first, second = (video['layers']()[0].poses for _ in range(2))
    assert np.array_equal(first, second)


def test_videos_of_a_subset_keep_their_motion(tmp_path):
    dataset = CameraMotionDataset(str(tmp_path), 'val', **SPLIT)
    expected = dataset[3]
    video = dataset.get_subset([3])[0]
    assert video['filename'] == expected['filename']
    found, motion = (v['layers']()[0].poses for v in (video, expected))
    assert np.array_equal(found, motion)
