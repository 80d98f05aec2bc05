# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
from mmaction.registry import DATASETS

from ata_mm.datasets import CLASSES, CameraMotionDataset

SMALL = dict(num_videos=8, num_frames=4, size=(32, 16), pipeline=[])


def test_a_config_makes_the_videos(tmp_path):
    cfg = dict(
        type='CameraMotionDataset', data_root=str(tmp_path), split='val')
    dataset = DATASETS.build(dict(**cfg, **SMALL))
    assert len(dataset) == 8 and dataset.metainfo['classes'] == CLASSES
    assert dataset[0]['filename'].endswith('val/00000.mp4')


def test_splits_share_a_folder(tmp_path):
    train, val = (
        CameraMotionDataset(str(tmp_path), split, **SMALL)
        for split in ('train', 'val'))
    with open(train[0]['filename'], 'rb') as a:
        with open(val[0]['filename'], 'rb') as b:
            assert a.read() != b.read()


def test_an_unknown_split_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="train.*val.*got 'test'"):
        CameraMotionDataset(str(tmp_path), 'test', **SMALL)
