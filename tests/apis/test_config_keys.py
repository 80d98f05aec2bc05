# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import inspect
import re

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from ata_mm.apis import load_config
from ata_mm.apis.config_keys import check_option_keys


@pytest.mark.parametrize(
    'option, place, hint',
    [
        ('lod_from=a.pth', '--cfg-options lod_from', 'load_from'),
        ('val_dataloder.batch_size=2', '--cfg-options', 'val_dataloader'),
        ('train_dataloader.num_worker=2', 'train_dataloader', 'num_workers'),
        ('env_cfg.cudn_benchmark=True', 'env_cfg', 'cudnn_benchmark'),
        ('randomness.sed=1', 'randomness', 'seed'),
        ('auto_scale_lr.enabel=True', 'auto_scale_lr', 'enable'),
        ('optim_wrapper.clip_grad.max_nrm=1', 'clip_grad', 'max_norm'),
        (
            'optim_wrapper.paramwise_cfg.norm_decay_mul=0',
            'paramwise_cfg',
            'norm_decay_mult',
        ),
        (
            'optim_wrapper.paramwise_cfg.custom_keys.x.lrmult=0',
            'custom_keys.x',
            'lr_mult',
        ),
        ('model.test_cfg.max_testing_view=1', 'model.test_cfg', 'max_testing'),
        ('model.backbone.num_frame=4', 'model.backbone', 'num_frames'),
        ('model.backbone.temporal.refin=1', 'backbone.temporal', 'refine'),
        ('default_hooks.checkpoint.intervl=1', 'checkpoint', 'interval'),
        ('default_hooks.chekpoint.interval=1', 'default_hooks', 'checkpoint'),
        ('test_dataloader.datset.x=1', '--cfg-options', 'dataset'),
        ('model.bakbone.num_frames=4', '--cfg-options', 'backbone'),
        ('train_pipeline.1.clip_lenn=4', 'train_pipeline.1', 'clip_len'),
    ],
)
def test_a_misspelt_key_is_refused(tiny_config, option, place, hint):
    key, value = option.split('=')
    options = {'default_hooks.checkpoint.type': 'CheckpointHook', key: value}
    with pytest.raises(ValueError, match=f'{place}.*Did you mean {hint}'):
        load_config(tiny_config, options)


def test_a_transform_of_the_host_ignores_no_key(tiny_config):
    option = 'train_pipeline.0'
    init = dict(type='DecordInit', num_thread=2)
    with pytest.raises(ValueError, match='Did you mean num_threads'):
        load_config(tiny_config, {option: init})
    # Storage other than disks has options of its own.
    load_config(tiny_config, {option: dict(init, io_backend='petrel')})


@pytest.mark.parametrize(
    'option',
    [
        'load_from',
        'randomness.seed',
        'env_cfg.mp_cfg.mp_start_method',
        'optim_wrapper.clip_grad.max_norm',
        'model.test_cfg.max_testing_views',
        'model.backbone.temporal.refine',
        'model.cls_head.init_std',
        'train_dataloader.dataset.delimiter',
        'root',  # of the file itself
    ],
)
def test_a_known_key_is_set(tiny_config, option):
    cfg = load_config(tiny_config, {option: 1})
    for part in option.split('.'):
        cfg = cfg[part]
    assert cfg == 1


def test_a_class_passes_its_keys_to_its_base(tiny_config):
    backbone = dict(
        _delete_=True, type='ATAConvNeXt', arch='tiny', temporal_blocks='all'
    )
    load_config(tiny_config, {'model.backbone': backbone})
    with pytest.raises(ValueError, match='Did you mean temporal_blocks'):
        load_config(
            tiny_config, {'model.backbone': dict(backbone, temporal_block=1)}
        )


def test_keys_of_other_constructors_are_theirs(tiny_config):
    load_config(
        tiny_config,
        {
            'optim_wrapper.constructor': 'TSMOptimWrapperConstructor',
            'optim_wrapper.paramwise_cfg.fc_lr5': True,
        },
    )


def test_keys_that_the_runner_reads_are_known():
    source = inspect.getsource(Runner)
    keys = set(re.findall(r"self\.cfg\.get\(\s*'(\w+)'", source))
    assert {'sync_bn', 'find_unused_parameters'} <= keys
    check_option_keys(Config(), keys)


def test_keys_that_the_runner_takes_from_a_loader_are_known(tiny_config):
    source = inspect.getsource(Runner.build_dataloader)
    keys = set(re.findall(r"dataloader_cfg\.pop\(\s*'(\w+)'", source))
    assert 'disable_subprocess_warning' in keys
    options = {f'train_dataloader.{key}': None for key in keys - {'dataset'}}
    load_config(tiny_config, options)
