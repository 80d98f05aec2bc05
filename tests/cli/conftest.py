# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""A study of two arms, with and without a grid."""

from pathlib import Path

import pytest

from ata_mm.cli.study import load_study

ROOT = Path(__file__).resolve().parents[2]
STUDY = """
title = 'Two arms'
metrics = dict(all='acc/top1')
config = 'configs/ata_vit_camera_motion_mixed.py'
seeds = [0, 1]
options = {'train_cfg.max_epochs': 2, 'train_cfg.val_begin': 2}
arms = {
    'plain': dict(),
    'two heads': dict(
        options={'model.backbone.temporal.route_heads': 2}, seeds=[5]),
}
smoke = {'train_cfg.max_epochs': 1}
_variable = 3
"""
GRID = """
grid = {
    'optim_wrapper.optimizer.lr': [1e-3, 2e-3, 4e-3],
    'model.backbone.position_std': [0.5],
}
selection = dict(seed=100, metric='all')
"""


@pytest.fixture
def checkout(monkeypatch):
    """The folder to which the configs of studies are relative."""
    monkeypatch.chdir(ROOT)


@pytest.fixture
def file(checkout, tmp_path):
    path = tmp_path / 'two.py'
    path.write_text(STUDY)
    return path


@pytest.fixture
def study(file, tmp_path):
    return load_study(file, tmp_path / 'runs')


@pytest.fixture
def runs(study, tmp_path):
    return study.runs(tmp_path / 'results.jsonl')


@pytest.fixture
def grid_study(file, tmp_path):
    file.write_text(STUDY + GRID)
    return load_study(file, tmp_path / 'runs')
