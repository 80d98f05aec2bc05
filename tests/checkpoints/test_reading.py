# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import argparse
import sys
from urllib.error import URLError

import pytest
import torch

from ata_mm.checkpoints import read_state_dict, reading
from ata_mm.checkpoints.reading import read_checkpoint

WEIGHTS = dict(weight=torch.arange(3.))


@pytest.mark.parametrize('name', [None, 'state_dict', 'model_state', 'model'])
def test_state_dict_is_found(tmp_path, name):
    torch.save({name: WEIGHTS} if name else WEIGHTS, tmp_path / 'a.pth')
    read = read_state_dict(tmp_path / 'a.pth')
    assert torch.equal(read['weight'], WEIGHTS['weight'])


def test_other_objects_are_refused(tmp_path):
    path = str(tmp_path / 'a.pth')
    torch.save(dict(model=WEIGHTS, args=argparse.Namespace(lr=1.)), path)
    with pytest.raises(ValueError, match='refuses: argparse.Namespace.'):
        read_state_dict(path)


def test_safetensors(tmp_path):
    safetensors = pytest.importorskip('safetensors.torch')
    path = str(tmp_path / 'model.safetensors')
    safetensors.save_file(WEIGHTS, path)
    assert torch.equal(read_state_dict(path)['weight'], WEIGHTS['weight'])


def test_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'safetensors.torch', None)
    with pytest.raises(ValueError, match='pip install safetensors'):
        read_state_dict('model.safetensors')


@pytest.mark.parametrize('suffix', ['pth', 'safetensors'])
def test_missing_file(suffix):
    if suffix == 'safetensors':
        pytest.importorskip('safetensors')
    with pytest.raises(FileNotFoundError, match=f'nowhere.{suffix}'):
        read_state_dict(f'nowhere.{suffix}')


@pytest.mark.parametrize('content', [b'', b'text', b'PK\x03\x04'])
def test_a_broken_file_is_named(tmp_path, content):
    (tmp_path / 'x.pth').write_bytes(content)
    with pytest.raises(ValueError, match='x.pth cannot be read'):
        read_checkpoint(str(tmp_path / 'x.pth'))


def test_an_address_that_does_not_answer_is_not_a_broken_file(monkeypatch):

    def refuse(*args, **kwargs):
        raise URLError('refused')

    monkeypatch.setattr(reading, '_load_checkpoint', refuse)
    with pytest.raises(URLError):
        read_checkpoint('https://nowhere.invalid/x.pth')
