# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Own classes in one command, on a handful of videos."""

import shlex
import shutil
from pathlib import Path

import pytest

from ata_mm.apis import load_config

OPTIONS = (
    '--backbone',
    'ATATimeSformer-micro',
    '--frames',
    4,
    '--batch-size',
    4,
    '--epochs',
    1,
    '--cfg-options',
    'train_dataloader.num_workers=0',
    'val_dataloader.num_workers=0',
    'test_dataloader.num_workers=0',
    'model.backbone.num_layers=1',
)


@pytest.fixture(scope='module')
def data(write_video, tmp_path_factory):
    """Two classes of three videos; a name with a space."""
    root = tmp_path_factory.mktemp('own')
    for label, name in enumerate(['pan left', 'pan right']):
        (root / name).mkdir()
        for seed in range(3):
            write_video(
                root / name / f'{seed}.mp4',
                num_frames=8,
                step=3 * (-1) ** label,
                seed=seed,
            )
    return root


@pytest.fixture(scope='module')
def finetuned(run, data, tmp_path_factory):
    """The process of all steps, and its folder."""
    folder = tmp_path_factory.mktemp('finetuned')
    done = run('finetune.py', data, '--work-dir', folder, *OPTIONS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, folder


def test_runs_all_steps(finetuned):
    steps = [
        line[3:] for line in finetuned[0].splitlines() if line[:3] == '== '
    ]
    assert steps == [
        'config',
        'check of the data',
        'cost',
        'training',
        'test',
        'prediction',
        'routes',
    ]


def test_prints_the_cost_before_the_training(finetuned):
    cost = finetuned[0].split('== training')[0].split('== cost')[1]
    for word in ('parameters', 'frame pairs of 36 patches', 'epoch: 1 steps'):
        assert word in cost


def test_printed_commands_are_those_of_a_shell(finetuned):
    lines = finetuned[0].splitlines()
    (line,) = [
        one for one in lines if one.startswith('$ python tools/predict')
    ]
    _, _, _, video, *_ = shlex.split(line)
    assert Path(video).is_file() and ' ' in video


def test_tests_the_model_and_draws_its_routes(finetuned):
    said, folder = finetuned
    assert 'acc/top1: ' in said.split('config: ')[-1]
    assert '"labels": ["pan ' in said
    assert len(list((folder / 'routes').rglob('routes.html'))) == 1


def test_its_config_is_a_file_of_its_own(finetuned):
    cfg = load_config(finetuned[1] / 'config.py')
    assert cfg.model.cls_head.num_classes == 2
    # The names of the classes say that a mirrored video is another class.
    flip = [
        s for s in cfg.train_dataloader.dataset.pipeline if 'Flip' in s.type
    ]
    assert flip[0].flip_ratio == 0


def test_other_options_than_those_of_the_config_are_an_error(
    run, data, finetuned
):
    done = run(
        'finetune.py', data, '--work-dir', finetuned[1], *OPTIONS, '--seed', 1
    )
    assert done.returncode == 1 and '--seed 1. Edit the config' in done.stderr


def test_dry_run_writes_the_config_alone(run, data, tmp_path):
    done = run(
        'finetune.py', data, '--work-dir', tmp_path, *OPTIONS, '--dry-run'
    )
    assert done.returncode == 0, done.stderr
    assert {file.name for file in tmp_path.iterdir()} == {
        'config.py',
        'train.txt',
        'val.txt',
        'classes.txt',
    }


def test_an_unreadable_video_is_named_before_the_training(run, data, tmp_path):
    shutil.copytree(data, tmp_path / 'data')
    (tmp_path / 'data' / 'pan left' / '1.mp4').write_bytes(b'no video')
    done = run(
        'finetune.py', tmp_path / 'data', '--work-dir', tmp_path, *OPTIONS
    )
    assert done.returncode == 1 and '== training' not in done.stdout
    assert 'pan left/1.mp4' in done.stderr
    assert 'error: Remove or replace what is named above' in done.stderr


@pytest.mark.parametrize(
    'backbone, message',
    [('ATATimeSformer-mikro', 'nearest are ATATimeSformer-micro')],
)
def test_wrong_names_are_one_line(run, data, tmp_path, backbone, message):
    done = run(
        'finetune.py', data, '--work-dir', tmp_path, '--backbone', backbone
    )
    assert done.returncode == 1 and message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_same_command_goes_on(run, data, finetuned):
    """Also to a larger number of epochs; the last test of this training."""
    folder = finetuned[1]
    config = folder / 'config.py'
    text = config.read_text().replace('max_epochs=1', 'max_epochs=2')
    config.write_text(text)
    lists = {path: path.read_text() for path in folder.glob('*.txt')}
    done = run('finetune.py', data, '--work-dir', folder, *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert config.read_text() == text
    assert {path: path.read_text() for path in lists} == lists
    assert 'resumed epoch: 1' in (folder / 'train.log').read_text()
    assert '== cost' not in done.stdout
    assert (folder / 'train' / 'epoch_2.pth').exists()
