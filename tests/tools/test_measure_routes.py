# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import json
from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

CONFIG = (
    Path(__file__).resolve().parents[2] / 'configs/ata_vit_moving_objects.py'
)


@pytest.fixture(scope='module')
def untrained(tmp_path_factory):
    """A config with a video of each class, and two checkpoints."""
    folder = tmp_path_factory.mktemp('routes')
    cfg = Config.fromfile(CONFIG)
    cfg.test_dataloader.dataset.update(
        data_root=str(folder / 'videos'), num_videos=8
    )
    cfg.dump(folder / 'config.py')
    init_default_scope(cfg.default_scope)
    for name in ('a.pth', 'b.pth'):
        torch.save(MODELS.build(cfg.model).state_dict(), folder / name)
    return folder


def test_each_checkpoint_is_measured(run, untrained):
    out = untrained / 'routes.json'
    done = run(
        'measure_routes.py',
        untrained / 'config.py',
        untrained / 'a.pth',
        untrained / 'b.pth',
        '--videos',
        2,
        '--out',
        out,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    first, second = found['checkpoints']
    assert found['videos'] == 2 and second['file'].endswith('b.pth')
    assert first['blocks'] != second['blocks']
    last = second['blocks'][-1]
    row = done.stdout.splitlines()[-2]
    assert row.split(' | ')[1] == f'{100 * last["followed"]:.0f}'
    assert row.endswith(f' {last["aligned"]:.3f} |')


def test_routes_alone_are_measured(run, untrained):
    out = untrained / 'alone.json'
    words = (untrained / 'config.py', untrained / 'a.pth', '--videos', 2)
    done = run('measure_routes.py', *words, '--no-information', '--out', out)
    assert done.returncode == 0, done.stderr
    (checkpoint,) = json.loads(out.read_text())['checkpoints']
    assert 'followed' in checkpoint['blocks'][0]
    assert 'aligned' not in checkpoint['blocks'][0]


def test_motion_that_is_not_known_is_an_error(run, tiny_config, checkpoint):
    done = run('measure_routes.py', tiny_config, checkpoint)
    assert done.returncode == 1
    assert 'whose true motion is known' in done.stderr
    assert 'got VideoDataset' in done.stderr
