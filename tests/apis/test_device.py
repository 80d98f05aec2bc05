# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from ata_mm.apis.device import use_device


def test_device_of_a_name():
    assert use_device('cpu') == torch.device('cpu')


def test_refuses_what_is_no_device():
    with pytest.raises(ValueError, match="such as 'cpu'.*got 'gpu'"):
        use_device('gpu')


@pytest.mark.parametrize('count, name', [(0, 'cuda'), (1, 'cuda:1')])
def test_refuses_a_gpu_that_is_not_there(monkeypatch, count, name):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: count)
    with pytest.raises(ValueError, match=f'torch finds {count} GPUs'):
        use_device(name)
