# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.

import pytest
import torch

from ata_mm.checkpoints import load_pretrained
from tests.checkpoints.toys import official, recognizer


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """An official TimeSformer for 5 classes and 4 frames."""
    path = tmp_path_factory.mktemp('source') / 'official.pyth'
    torch.save({'model_state': official()}, path)
    return path


def test_converted_file_loads_as_the_source(run, source, tmp_path):
    done = run('convert_checkpoint.py', source, tmp_path / 'ours.pth')
    assert done.returncode == 0, done.stderr
    assert 'Checkpoint layout: TimeSformer (official)' in done.stdout
    model, peer = recognizer(), recognizer()
    model.load_state_dict(torch.load(tmp_path / 'ours.pth')['state_dict'])
    load_pretrained(peer, str(source))
    assert all(
        torch.equal(value, peer.state_dict()[key])
        for key, value in model.state_dict().items()
    )


def test_config_fits_it_to_its_model(run, source, tiny_config, tmp_path):
    done = run(
        'convert_checkpoint.py',
        source,
        tmp_path / 'ours.pth',
        '--config',
        tiny_config,
        '--cfg-options',
        'model.backbone.num_frames=8',
        'model.backbone.patch_size=8',
        'model.backbone.num_heads=3',
    )
    assert done.returncode == 0, done.stderr
    assert '1 interpolated: time_embed' in done.stdout
    assert 'left as initialised (2 classes here' in done.stdout
    state = torch.load(tmp_path / 'ours.pth')['state_dict']
    assert state['backbone.time_embed'].shape == (1, 8, 24)
    assert 'cls_head.fc_cls.weight' not in state


def test_a_training_becomes_weights_classes_and_statistics(
    run, checkpoint, tiny_config, tmp_path
):
    options = '--config', tiny_config
    done = run(
        'convert_checkpoint.py', checkpoint, tmp_path / 'ours.pth', *options
    )
    assert done.returncode == 0, done.stderr
    found = torch.load(tmp_path / 'ours.pth', weights_only=True)
    assert found['meta'] == dict(
        dataset_meta=dict(classes=['pan left', 'pan right']),
        data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3),
    )
    trained = torch.load(checkpoint, weights_only=True)['state_dict']
    assert found['state_dict'].keys() == trained.keys()


def test_a_full_disk_leaves_no_half_of_a_file(run, source, tmp_path):
    target = tmp_path / 'ours.pth'
    done = run('convert_checkpoint.py', source, target, max_file=8000)
    assert done.returncode == 1 and 'Written' not in done.stdout
    assert done.stderr.startswith('convert_checkpoint.py: error: ')
    assert str(target) in done.stderr
    assert not list(tmp_path.iterdir())


def test_file_is_not_overwritten(run, source):
    done = run('convert_checkpoint.py', source, source)
    assert done.returncode == 1
    assert done.stderr.startswith('convert_checkpoint.py: error: ')
    assert f'{source} exists' in done.stderr


@pytest.mark.parametrize(
    'target, message',
    [
        ('nowhere/ours.pth', 'nowhere/ours.pth does not exist'),
        ('ours.safetensors', 'Use the suffix .pth'),
        ('ours.pth', 'layer.weight'),
    ],
)
def test_errors_are_one_line_and_write_nothing(run, tmp_path, target, message):
    torch.save({'layer.weight': torch.ones(1)}, tmp_path / 'other.pth')
    target = tmp_path / target
    done = run('convert_checkpoint.py', tmp_path / 'other.pth', target)
    assert done.returncode == 1 and not target.exists()
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith('convert_checkpoint.py: error: ')
    assert message in line
