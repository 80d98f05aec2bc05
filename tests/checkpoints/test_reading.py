# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import argparse

import pytest
import torch

from ata_mm.checkpoints import check_finite_weights, read_state_dict

WEIGHTS = dict(weight=torch.arange(3.0))


@pytest.mark.parametrize(
    'name', [None, 'state_dict', 'model_state', 'model', 'module']
)
def test_state_dict_is_found(tmp_path, name):
    torch.save({name: WEIGHTS} if name else WEIGHTS, tmp_path / 'a.pth')
    read = read_state_dict(tmp_path / 'a.pth')
    assert torch.equal(read['weight'], WEIGHTS['weight'])


def test_a_value_among_tensors_is_named():
    with pytest.raises(ValueError, match="other values under 'epoch', 7"):
        read_state_dict({**WEIGHTS, 'epoch': 5, 7: None})


def test_state_dict_within_a_container_is_found():
    read = read_state_dict({'model': {'state_dict': WEIGHTS, 'epoch': 3}})
    assert torch.equal(read['weight'], WEIGHTS['weight'])


def test_a_checkpoint_without_tensors_is_an_error():
    with pytest.raises(ValueError, match="'epoch'"):
        read_state_dict({'epoch': 3})


def test_other_objects_are_refused(tmp_path):
    path = str(tmp_path / 'a.pth')
    torch.save(dict(model=WEIGHTS, args=argparse.Namespace(lr=1.0)), path)
    with pytest.raises(ValueError, match='a.pth, got argparse.Namespace'):
        read_state_dict(path)


@pytest.mark.parametrize(
    'key, other', [('state_dict', 'state_dict_ema'), ('model', 'model_ema')]
)
def test_averaged_weights_are_not_read(key, other):
    averaged = dict(weight=torch.ones(3))
    read = read_state_dict({other: averaged, key: WEIGHTS})
    assert torch.equal(read['weight'], WEIGHTS['weight'])


def test_averaged_weights_beside_others_are_named(monkeypatch):
    messages = []
    monkeypatch.setattr(
        'ata_mm.checkpoints.reading.print_log',
        lambda message, logger: messages.append(message),
    )
    read_state_dict(dict(state_dict=WEIGHTS, state_dict_ema=WEIGHTS))
    assert messages == [
        "Weights of 'state_dict' are used, not those of 'state_dict_ema'."
    ]
    read_state_dict(dict(state_dict=WEIGHTS, optimizer=dict(state={})))
    assert len(messages) == 1


def test_a_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match='nowhere.pth'):
        read_state_dict('nowhere.pth')


@pytest.mark.parametrize(
    'key, value',
    [
        (7, torch.zeros(1)),
        ('sparse', torch.eye(2).to_sparse()),
        ('meta', torch.zeros(1, device='meta')),
        (
            'quantized',
            torch.quantize_per_tensor(torch.ones(1), 1, 0, torch.qint8),
        ),
    ],
)
def test_tensors_that_are_no_weights_are_named(key, value):
    with pytest.raises(ValueError, match=f'under .{key!r}'):
        read_state_dict({**WEIGHTS, key: value})


def test_weights_of_eight_bits_may_be_finite():
    values = torch.tensor([1.0, float('nan')]).to(torch.float8_e4m3fn)
    check_finite_weights(dict(a=values[:1]), 'x.pth')
    with pytest.raises(ValueError, match=r"Expected finite .*'a'"):
        check_finite_weights(dict(a=values), 'x.pth')
