# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import json
import logging
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.registry import HOOKS, LOOPS, METRICS, MODELS
from mmengine.logging import MMLogger
from torch.utils.data import DataLoader

from ata_mm.cli import errors
from ata_mm.cli.arguments import make_folder, parse_length
from ata_mm.cli.errors import is_user_error, one_line, user_errors
from ata_mm.video import Workers

LOOP = dict(type='EpochBasedTrainLoop', runner=None, dataloader=[1])


def caught(call, *args, **options):
    with pytest.raises(Exception) as error:
        call(*args, **options)
    return error.value


class Calling(torch.utils.data.Dataset):
    def __init__(self, call):
        self.call = call

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.call(index)


def from_loader(call):
    """The error that a worker process of a data loader passes on."""
    return caught(next, iter(DataLoader(Calling(call), num_workers=1)))


def from_workers(call):
    """The error that a process of `Workers` passes on."""
    with Workers(call) as workers:
        return caught(workers, 'a')


def refuse(item):
    raise ValueError('Expected a video, got none.')


def need():
    raise ImportError('Expected the package timm, but it is not installed.')


def fail(item):
    return math.sqrt(-1)


def test_errors_become_one_line(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['tools/predict.py'])
    expected = '^predict.py: error: Expected'
    with pytest.raises(SystemExit, match=expected), user_errors():
        parse_length('soon', 25.0)


@pytest.mark.parametrize(
    'call',
    [
        lambda: parse_length('soon', 25.0),
        lambda: Path('/nowhere').read_text(),
        need,
        lambda: torch.optim.SGD([torch.zeros(1)], lr=-1),
        lambda: DataLoader([1], num_workers=-1),
        lambda: MODELS.build(dict(type='ATANec', embed_dims=8)),
        lambda: MODELS.build(dict(type='ATANeck', embed_dim=8)),
        lambda: MODELS.build(dict(type='ATANeck')),
        lambda: HOOKS.build(dict(type='CheckpointHook', rule=3)),
        lambda: LOOPS.build(dict(LOOP, max_epochs='two')),
    ],
)
def test_faults_of_users_are_known(call):
    assert is_user_error(caught(call))


@pytest.mark.parametrize(
    'call',
    [
        lambda: json.loads('{'),
        lambda: int('one'),
        lambda: np.stack([np.zeros(1), np.zeros(2)]),
        lambda: [].index(0),
        lambda: make_folder(*[1, 2]),
        lambda: {}['key'],
        lambda: __import__('ata_mm.nowhere'),
        lambda: torch.zeros(2) + torch.zeros(3),
    ],
)
def test_faults_of_the_program_keep_their_traceback(call):
    error = caught(call)
    with pytest.raises(type(error)), user_errors():
        call()


@pytest.mark.parametrize(
    'module, known',
    [
        ('json/decoder.py', False),
        ('site-packages/ata_mm/ops/align.py', True),
        ('site-packages/numpy/core.py', False),
        ('site-packages/ata_mm_other/core.py', False),
    ],
)
def test_packages_below_the_standard_library(
    module, known, tmp_path, monkeypatch
):
    folders = str(tmp_path), str(tmp_path / 'site-packages')
    monkeypatch.setattr(errors, '_INSTALLED', folders)
    file = tmp_path / module
    file.parent.mkdir(parents=True)
    file.write_text("raise ValueError('Expected a number.')\n")
    code = compile(file.read_text(), file, 'exec')
    assert is_user_error(caught(exec, code)) == known


@pytest.mark.parametrize('pass_on', [from_loader, from_workers])
def test_an_error_of_a_worker_is_its_last_line(pass_on):
    error = pass_on(refuse)
    assert is_user_error(error)
    assert one_line(error) == 'Expected a video, got none.'


@pytest.mark.parametrize('pass_on', [from_loader, from_workers])
def test_a_fault_of_the_program_in_a_worker_keeps_its_traceback(pass_on):
    assert not is_user_error(pass_on(fail))


def test_line_breaks_are_removed():
    assert one_line(ValueError('a\n  b\tc')) == 'a b c'


def test_an_error_without_a_message_has_its_type():
    assert one_line(NotImplementedError()) == 'NotImplementedError'


def test_the_log_file_of_the_run_has_the_traceback(tmp_path, monkeypatch):
    logger = MMLogger('errors', log_file=str(tmp_path / 'run.log'))
    monkeypatch.setattr(
        errors.MMLogger, 'get_current_instance', lambda: logger
    )
    with pytest.raises(SystemExit), user_errors():
        parse_length('soon', 25.0)
    logging.shutdown()
    assert 'in parse_length' in (tmp_path / 'run.log').read_text()


def test_a_refusal_without_a_message_names_the_class():
    error = caught(METRICS.build, dict(type='AccMetric', metric_list='foo'))
    assert is_user_error(error)
    assert one_line(error).startswith('AccMetric refuses its settings')


def test_a_misspelt_argument_has_the_similar_one():
    head = dict(type='ATATimeSformer', num_frames=2, patch_siz=2)
    message = one_line(caught(MODELS.build, head))
    assert message.endswith("'patch_siz'. Did you mean patch_size?")
    head = dict(type='TimeSformerHead', num_classes=2, in_channels=8, qqq=2)
    assert one_line(caught(MODELS.build, head)).endswith("'qqq'.")


def test_an_argument_of_a_base_that_does_not_get_it_is_not_suggested():
    backbone = dict(type='ResNet', depth=18, pretrained=None)
    model = dict(type='Recognizer2D', backbone=backbone, init_cfg=None)
    message = one_line(caught(MODELS.build, model))
    assert 'Did you mean init_cfg' not in message and 'init_cfg' in message
