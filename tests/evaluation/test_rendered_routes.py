# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS

from ata_mm.cli.study import load_study
from ata_mm.evaluation import rendered_routes
from ata_mm.evaluation.rendered_routes import followed_shares, route_rows

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return str(tmp_path_factory.mktemp('videos'))


@pytest.fixture
def untrained(monkeypatch, data, tmp_path):
    """The config and checkpoint of an arm, for a video of each class."""
    monkeypatch.chdir(ROOT)  # configs are named relative to it

    def build(arm):
        path = 'configs/studies/moving_objects.py'
        study = load_study(path, tmp_path, smoke=True, arms=[arm])
        cfg = study.arms[0].trials[0].cfg
        cfg.test_dataloader.dataset.update(data_root=data, num_videos=8)
        torch.save(MODELS.build(cfg.model).state_dict(), tmp_path / 'a.pth')
        return cfg, str(tmp_path / 'a.pth')

    return build


@pytest.fixture
def rows(untrained):
    return lambda arm: route_rows(*untrained(arm), videos=8)


def test_routes_of_the_true_motion_follow_it(rows):
    for _, step, after, *_ in rows('true motion'):
        assert int(step) > 80
        assert int(after.split('/')[0]) > 90


def test_random_routes_do_not(rows):
    found = rows('random routes')
    assert [block for block, *_ in found] == ['0', '1']
    assert all(int(step) < 40 for _, step, *_ in found)


def test_models_without_routes_have_information_alone(rows):
    for _, step, after, in_place, aligned in rows('temporal attention'):
        assert (step, after) == ('–', '–')
        assert float(aligned) > float(in_place) - 1


def test_shares_are_those_of_the_rows(untrained):
    arm = untrained('refined ATA')
    shares = followed_shares(*arm, videos=8)
    steps = [step for _, step, *_ in route_rows(*arm, videos=8)]
    assert [f'{100 * share:.0f}' for share in shares] == steps


def test_models_without_routes_have_no_shares(untrained):
    assert followed_shares(*untrained('temporal attention'), videos=8) == []


def test_a_single_video_has_routes_but_no_control(untrained):
    for _, step, _, *gains in route_rows(*untrained('refined ATA'), videos=1):
        assert step.isdigit() and gains == ['–', '–']


def test_shares_need_no_probe(untrained, monkeypatch):
    monkeypatch.setattr(rendered_routes, 'InformationProbe', None)
    assert len(followed_shares(*untrained('refined ATA'), videos=1)) == 2
