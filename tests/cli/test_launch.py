# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import os
from argparse import Namespace

import pytest
from mmengine.config import Config

from ata_mm.apis.config import load_config
from ata_mm.cli.launch import (
    check_launcher,
    check_numbers,
    check_precision,
    destroy_process_group,
    fit_workers,
    guard_videos,
    prepare,
    run,
    set_work_dir,
)
from ata_mm.compat import cpu_distributed


def threads() -> set:
    """The threads of this process, those of C++ too."""
    return set(os.listdir('/proc/self/task'))


@pytest.fixture
def one_of_one(monkeypatch):
    """The environment that a launcher gives to the process of a CPU run."""
    monkeypatch.setattr(cpu_distributed, 'get_device', lambda: 'cpu')
    # torch takes a free port in place of 0.
    address = dict(MASTER_ADDR='127.0.0.1', MASTER_PORT='0')
    for name, value in dict(
        RANK='0', LOCAL_RANK='0', WORLD_SIZE='1', **address
    ).items():
        monkeypatch.setenv(name, value)
    yield
    destroy_process_group()


@pytest.mark.parametrize(
    'key, value',
    [
        ('train_dataloader.num_workers', 1.5),
        ('val_dataloader.num_workers', 'two'),
        ('test_dataloader.batch_size', 0),
        ('train_cfg.max_epochs', 0),
        ('train_cfg.max_iters', '9'),
    ],
)
def test_a_number_that_is_no_count_is_named(key, value, tiny_config):
    cfg = load_config(tiny_config, {key: value})
    with pytest.raises(ValueError, match=f'for {key}, got {value!r}'):
        check_numbers(cfg)


def test_a_process_that_torchrun_did_not_start_is_named(monkeypatch):
    monkeypatch.setenv('RANK', '0')
    monkeypatch.delenv('WORLD_SIZE', raising=False)
    with pytest.raises(ValueError, match=r'dist_train.sh CONFIG 8.*WORLD_SI'):
        check_launcher('pytorch')
    check_launcher('none')


@pytest.mark.usefixtures('one_of_one')
def test_no_thread_of_the_process_group_outlives_a_run(tiny_config, tmp_path):
    cfg = load_config(tiny_config)
    options = Namespace(
        work_dir=str(tmp_path), launcher='pytorch', local_rank=0
    )
    before, during = threads(), set()
    prepare(cfg, options, ['train', 'val'])

    def train(runner):
        during.update(threads() - before)
        runner.train()

    run(cfg, train)
    assert during and not during & threads()


@pytest.mark.parametrize(
    'option, own, expected',
    [
        ('option', 'own', 'option'),
        (None, 'own', 'own'),
        (None, None, 'work_dirs/tiny'),
    ],
)
def test_work_dir_is_option_then_config_then_name(
    option, own, expected, tiny_config
):
    cfg = load_config(tiny_config, {'work_dir': own})
    set_work_dir(cfg, option)
    assert cfg.work_dir == expected


def test_amp_on_the_cpu_says_what_to_do(monkeypatch):
    monkeypatch.setattr('ata_mm.cli.launch.get_device', lambda: 'cpu')
    cfg = Config(dict(optim_wrapper=dict(type='AmpOptimWrapper')))
    with pytest.raises(ValueError, match='train without --amp'):
        check_precision(cfg)


def test_no_workers_need_no_persistent_workers():
    loader = dict(num_workers=0, persistent_workers=True, prefetch_factor=2)
    cfg = Config(dict(test_dataloader=loader))
    fit_workers(cfg)
    assert cfg.test_dataloader == dict(num_workers=0, persistent_workers=False)


def test_workers_stay_persistent():
    loader = dict(num_workers=2, persistent_workers=True)
    cfg = Config(dict(train_dataloader=loader))
    fit_workers(cfg)
    assert cfg.train_dataloader.persistent_workers


@pytest.mark.parametrize('scope', ['', 'mmaction.'])
def test_a_hook_for_bad_videos_is_kept(scope):
    hooks = [dict(type=f'{scope}BadVideoHook', limit=0.1)]
    cfg = Config(dict(custom_hooks=hooks))
    guard_videos(cfg)
    assert cfg.custom_hooks == hooks


def test_pixels_that_are_not_normalised_are_warned_of(
    tiny_config, tmp_path, monkeypatch
):
    messages = []
    monkeypatch.setattr(
        'ata_mm.cli.launch.print_log',
        lambda message, **_: messages.append(message),
    )
    none = {f'model.data_preprocessor.{key}': None for key in ('mean', 'std')}
    args = Namespace(work_dir=str(tmp_path), launcher='none', local_rank=0)
    prepare(load_config(tiny_config, none), args, ['train', 'val'])
    assert 'Expected mean and std in model.data_preprocessor' in messages[0]
