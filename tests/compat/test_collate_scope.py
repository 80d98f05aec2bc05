# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
from mmengine.config import Config
from mmengine.dataset import worker_init_fn
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from ata_mm.compat import collate_scope

LOADER = dict(
    dataset=[[0], [1]],
    batch_size=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
)


@pytest.fixture
def inherited(tmp_path):
    """The config of a loader, as inherited from a recipe of MMAction2."""
    (tmp_path / 'config.py').write_text(
        "_base_ = 'mmaction::recognition/mvit/"
        "mvit-small-p244_32xb16-16x4x1-200e_kinetics400-rgb.py'\n"
    )
    init_default_scope('mmaction')
    return Config.fromfile(tmp_path / 'config.py').train_dataloader


def test_an_inherited_function_collates(inherited):
    assert inherited.collate_fn._scope_ == 'mmaction'
    loader = Runner.build_dataloader(
        dict(LOADER, collate_fn=inherited.collate_fn)
    )
    assert list(loader) == [[0, 1]]  # samples repeated in lists are joined
    assert inherited.collate_fn._scope_ == 'mmaction'  # as it was


def test_an_inherited_function_initialises_workers():
    function = dict(
        type=worker_init_fn,
        _scope_='mmengine',
        num_workers=1,
        rank=0,
        seed=0,
    )
    loader = Runner.build_dataloader(dict(LOADER, worker_init_fn=function))
    loader.worker_init_fn(0)


def test_second_call_changes_nothing():
    collate_scope.apply()
    assert not collate_scope.needed()
