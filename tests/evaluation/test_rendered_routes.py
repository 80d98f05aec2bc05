# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
from pathlib import Path

import numpy as np
import pytest
from mmaction.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from ata_mm.cli.study import load_study
from ata_mm.datasets import CameraMotionDataset
from ata_mm.evaluation import rendered_routes
from ata_mm.evaluation.known_motion import LayeredClip
from ata_mm.evaluation.mutual_information import MutualInformation
from ata_mm.evaluation.rendered_routes import (
    describe_routes,
    load_clips,
    measure_routes,
    route_row,
)

ROOT = Path(__file__).resolve().parents[2]
STUDY = f"""
_base_ = '{ROOT}/configs/_base_/studies/arms.py'
title = 'Moving objects, all arms'
config = 'configs/ata_vit_moving_objects.py'
"""


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return str(tmp_path_factory.mktemp('videos'))


@pytest.fixture
def described(monkeypatch, data, tmp_path):
    """Describe the routes of an untrained arm, on a video of each class."""
    monkeypatch.chdir(ROOT)  # configs are named relative to it

    def describe(arm, videos=8, **options):
        path = tmp_path / 'study.py'
        path.write_text(STUDY)
        study = load_study(path, tmp_path, smoke=True, arms=[arm])
        cfg = study.arms[0].trials[0].cfg
        cfg.test_dataloader.dataset.update(data_root=data, num_videos=8)
        init_default_scope(cfg.default_scope)
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
        model = MODELS.build(cfg.model).eval()
        return describe_routes(model, load_clips(dataset, videos), **options)

    return describe


def test_routes_of_the_true_motion_follow_it(described):
    for block in described('true motion'):
        assert block['followed'] > 0.8
        assert block['after1'] > 0.9
        assert block['nearest'] < block['followed']


def test_random_routes_do_not(described):
    blocks = described('random routes')
    assert len(blocks) == 2
    assert all(block['followed'] < 0.4 for block in blocks)


@pytest.mark.parametrize(
    'arm', ['temporal attention', 'averaging', 'joint attention']
)
def test_without_routes_patches_stay_in_place(described, arm):
    with_routes = described('ATA, shared')[0]
    for block in described(arm):
        assert set(block) == set(with_routes)
        # Objects are visible in a quarter of the patches or less, and move by
        # up to 1.5 patches a frame, the background by as much.
        assert 0.4 < block['after1'] < 0.9
        assert block['after7'] < 0.3


def test_in_place_is_right_where_nothing_moves(described, monkeypatch):
    monkeypatch.setattr(
        LayeredClip, 'follow', lambda self, grid, *frames: _centres(grid)
    )
    for block in described('temporal attention'):
        assert block['followed'] == block['nearest'] == block['after7'] == 1


def _centres(grid):
    return np.stack(np.indices(grid), -1).reshape(-1, 2).astype(float)


def test_a_single_video_has_routes_but_no_control(described):
    for block in described('refined ATA', videos=1):
        assert 'followed' in block and 'aligned' not in block


def test_information_is_that_beyond_the_control(described, monkeypatch):
    means = {
        f'block{index}/before/{name}': value
        for index in range(2)
        for name, value in dict(
            in_place=0.5,
            in_place_unrelated=0.25,
            aligned=0.75,
            aligned_unrelated=0.125,
        ).items()
    }
    monkeypatch.setattr(
        MutualInformation, 'compute_metrics', lambda self, results: means
    )
    for block in described('refined ATA', videos=1):
        assert (block['in_place'], block['aligned']) == (0.25, 0.625)


def test_routes_alone_need_no_probe(described, monkeypatch):
    monkeypatch.setattr(rendered_routes, 'InformationProbe', None)
    blocks = described('refined ATA', videos=1, information=False)
    assert all('followed' in block for block in blocks)


@pytest.fixture
def panning(tmp_path):
    """Describe a model with the config's views of videos of the quick start,
    which move by a patch a frame."""
    cfg = Config.fromfile(ROOT / 'configs/ata_vit_camera_motion_mixed.py')
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model).eval()

    def describe(loader):
        dataset = cfg[loader].dataset.copy()
        dataset.update(data_root=str(tmp_path), num_videos=8, speed=(8, 8))
        clips = load_clips(DATASETS.build(dataset), 2)
        return measure_routes(model, clips)

    return describe


def test_motion_is_that_of_resized_frames(panning, monkeypatch):
    clips = []
    monkeypatch.setattr(
        rendered_routes,
        'count_followed',
        lambda alignment, clip, *args: clips.append(clip) or {},
    )
    panning('val_dataloader')
    steps = clips[0].follow((6, 6), 0, 1) - clips[0].follow((6, 6), 0, 0)
    # Content moves by at most 8 pixels of 48, of the 6 patches, and jitter.
    assert 0.2 < np.abs(steps).max() < 1.3


def test_several_views_are_an_error(panning):
    with pytest.raises(ValueError, match='got num_clips=2 and crops'):
        panning('test_dataloader')


@pytest.mark.parametrize(
    'steps, message',
    [
        (
            [
                dict(type='Resize', scale=(48, 48), keep_ratio=False),
                dict(type='CenterCrop', crop_size=48),
            ],
            'scales of x and y of 0.75 and 1',
        ),
        (
            [
                dict(type='Flip', flip_ratio=1),
                dict(type='CenterCrop', crop_size=48),
            ],
            'flip=True',
        ),
        (
            [
                dict(type='CenterCrop', crop_size=48),
                dict(type='Resize', scale=(24, 24)),
            ],
            r'images of \(24, 24\) after a crop of side 48',
        ),
    ],
)
def test_pipelines_that_lose_the_motion_are_an_error(tmp_path, steps, message):
    init_default_scope('mmaction')
    pipeline = [
        dict(type='VideoInit'),
        dict(type='SampleFrames', clip_len=2, num_clips=1),
        dict(type='VideoDecode'),
        *steps,
        dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackActionInputs'),
    ]
    dataset = CameraMotionDataset(
        str(tmp_path), 'val', pipeline, num_videos=8, size=(64, 48)
    )
    with pytest.raises(ValueError, match=message):
        load_clips(dataset, 1)


def test_a_row_has_what_there_is():
    assert route_row({}) == ['–'] * 5
    shares = dict(after1=0.5, after3=0.4, after5=0.3)
    assert route_row(dict(shares, followed=0.123, aligned=-0.25)) == [
        '12',
        '–',
        '50/40/30/–',
        '–',
        '-0.250',
    ]
