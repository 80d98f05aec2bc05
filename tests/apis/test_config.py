# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from ata_mm.apis.config import (
    check_checkpoint,
    load_config,
    use_device,
)


def test_load_config_names_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.py is not a file'):
        load_config(tmp_path / 'nowhere.py')


def test_load_config_merges_options(tiny_config):
    cfg = load_config(tiny_config, {'train_dataloader.batch_size': 1})
    assert cfg.train_dataloader.batch_size == 1


def test_load_config_defaults_to_the_scope_of_mmaction(tmp_path):
    path = tmp_path / 'bare.py'
    path.write_text('model = dict()\n')
    assert load_config(path).default_scope == 'mmaction'


def test_check_checkpoint_refuses_what_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='x.pth is not a file'):
        check_checkpoint(str(tmp_path / 'x.pth'))


def test_check_checkpoint_leaves_a_url_alone():
    check_checkpoint('https://example.org/x.pth')


def test_device_of_a_name():
    assert use_device('cpu') == torch.device('cpu')


def test_refuses_other_names_than_devices():
    with pytest.raises(ValueError, match="such as 'cpu'.*got 'gpu'"):
        use_device('gpu')


@pytest.mark.parametrize('count, name', [(0, 'cuda'), (1, 'cuda:1')])
def test_refuses_a_gpu_that_torch_does_not_find(monkeypatch, count, name):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: count)
    with pytest.raises(ValueError, match=f'torch finds {count} GPUs'):
        use_device(name)
