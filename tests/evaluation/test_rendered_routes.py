# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
from pathlib import Path

import pytest
from mmaction.registry import DATASETS, MODELS
from mmengine.registry import init_default_scope

from ata_mm.cli.study import load_study
from ata_mm.evaluation.rendered_routes import describe_routes, route_row

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return str(tmp_path_factory.mktemp('videos'))


@pytest.fixture
def described(monkeypatch, data, tmp_path):
    """Describe the routes of an untrained arm, on a video of each class."""
    monkeypatch.chdir(ROOT)  # configs are named relative to it

    def describe(arm, videos=8):
        path = 'configs/studies/moving_objects.py'
        study = load_study(path, tmp_path, smoke=True, arms=[arm])
        cfg = study.arms[0].trials[0].cfg
        cfg.test_dataloader.dataset.update(data_root=data, num_videos=8)
        init_default_scope(cfg.default_scope)
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
        model = MODELS.build(cfg.model).eval()
        return describe_routes(model, dataset, videos)

    return describe


def test_routes_of_the_true_motion_follow_it(described):
    for block in described('true motion'):
        assert block['followed'] > 0.8
        assert block['after1'] > 0.9


def test_random_routes_do_not(described):
    blocks = described('random routes')
    assert len(blocks) == 2
    assert all(block['followed'] < 0.4 for block in blocks)


def test_models_without_routes_have_information_alone(described):
    for block in described('temporal attention'):
        assert set(block) == {'in_place', 'aligned'}
        assert block['aligned'] > block['in_place'] - 1


def test_a_single_video_has_routes_but_no_control(described):
    for block in described('refined ATA', videos=1):
        assert 'followed' in block and 'aligned' not in block


def test_a_row_has_what_there_is():
    assert route_row({}) == ['–'] * 4
    shares = dict(after1=0.5, after3=0.4, after5=0.3)
    assert route_row(dict(shares, followed=0.123, aligned=-0.25)) == [
        '12',
        '50/40/30/–',
        '–',
        '-0.250',
    ]
