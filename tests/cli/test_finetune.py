# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import argparse
import subprocess
import sys

import pytest
from mmengine.config import Config

from ata_mm.apis.config import load_config
from ata_mm.cli import finetune as module
from ata_mm.cli.arguments import add_finetune_options
from ata_mm.cli.finetune import (
    best_checkpoint,
    check_command,
    default_folder,
    finetune,
    follows_routes,
    prepare_config,
)
from ata_mm.datasets.checks import check_config
from ata_mm.models import ATA


@pytest.fixture
def args(write_video, tmp_path):
    """Options of a command on two classes of two videos."""
    for name in ('in', 'out'):
        (tmp_path / 'data' / name).mkdir(parents=True)
        for seed in range(2):
            write_video(tmp_path / 'data' / name / f'{seed}.mp4', 8)
    parser = argparse.ArgumentParser()
    add_finetune_options(parser)
    return parser.parse_args(
        [
            str(tmp_path / 'data'),
            '--backbone=ATATimeSformer-micro',
            f'--work-dir={tmp_path / "work"}',
        ]
    )


@pytest.fixture
def begun(args, tmp_path):
    """The folder of a training that has saved a checkpoint."""
    folder = tmp_path / 'work'
    prepare_config(args, folder)
    (folder / 'train').mkdir()
    (folder / 'train' / 'last_checkpoint').write_text('epoch_3.pth')
    return folder


def test_an_edited_config_is_kept(args, tmp_path):
    config = prepare_config(args, tmp_path / 'work')
    text = config.read_text().replace('max_epochs=30', 'max_epochs=7')
    config.write_text(text)
    assert prepare_config(args, tmp_path / 'work') == config
    assert config.read_text() == text


def test_lists_follow_the_data_until_a_training_begins(
    args, tmp_path, write_video
):
    folder = tmp_path / 'work'
    prepare_config(args, folder)
    write_video(tmp_path / 'data' / 'in' / 'new.mp4', 8)
    prepare_config(args, folder)
    lines = (folder / 'train.txt').read_text() + (
        folder / 'val.txt'
    ).read_text()
    assert 'in/new.mp4 0' in lines


def test_lists_keep_the_delimiter_of_the_config(args, tmp_path, write_video):
    write_video(tmp_path / 'data' / 'in' / 'a b.mp4', 8)
    prepare_config(args, tmp_path / 'work')
    (tmp_path / 'data' / 'in' / 'a b.mp4').unlink()
    config = prepare_config(args, tmp_path / 'work')
    check_config(load_config(config))


def test_a_name_with_the_delimiter_of_the_config_is_refused(
    args, tmp_path, write_video
):
    prepare_config(args, tmp_path / 'work')
    write_video(tmp_path / 'data' / 'in' / 'a b.mp4', 8)
    with pytest.raises(ValueError, match="' '.*got 'in/a b.mp4'"):
        prepare_config(args, tmp_path / 'work')


def test_lists_of_a_training_stay(args, begun, tmp_path, write_video):
    before = (begun / 'train.txt').read_text()
    write_video(tmp_path / 'data' / 'in' / 'new.mp4', 8)
    prepare_config(args, begun)
    assert (begun / 'train.txt').read_text() == before


def test_other_classes_need_a_new_config(args, tmp_path):
    prepare_config(args, tmp_path / 'work')
    (tmp_path / 'data' / 'in').rename(tmp_path / 'data' / 'up')
    with pytest.raises(ValueError, match='got out, up. Remove that file'):
        prepare_config(args, tmp_path / 'work')


@pytest.mark.parametrize(
    'lists, message',
    [
        (['train.txt', 'val.txt'], 'other than the folder of .*train.txt'),
        (['one.txt'], 'other than the folder of .*one.txt'),
        ([], 'without lists, .* got .*work/train.txt, .*work/val.txt and no'),
    ],
)
def test_lists_of_the_user_are_not_replaced(args, tmp_path, lists, message):
    folder = tmp_path / 'work'
    folder.mkdir()
    for name in lists or ['train.txt', 'val.txt']:
        (folder / name).write_text(
            ''.join(
                f'../data/{name}/{seed}.mp4 {label}\n'
                for label, name in enumerate(('in', 'out'))
                for seed in range(2)
            )
        )
    before = {path: path.read_text() for path in folder.iterdir()}
    args.data = [str(folder / name) for name in lists] or args.data
    with pytest.raises(ValueError, match=message):
        prepare_config(args, folder)
    assert {path: path.read_text() for path in folder.iterdir()} == before


def test_the_config_of_a_training_is_not_to_be_removed(args, begun):
    args.temporal = 'TemporalAttention'
    with pytest.raises(ValueError, match='another --work-dir.$'):
        prepare_config(args, begun)
    (begun / 'config.py').unlink()
    with pytest.raises(
        FileNotFoundError, match='Copy .*train/config.py there'
    ):
        prepare_config(args, begun)


def test_a_file_is_no_work_dir(args, tmp_path):
    (tmp_path / 'work').touch()
    with pytest.raises(ValueError, match='--work-dir, but .*work cannot be'):
        prepare_config(args, tmp_path / 'work')


@pytest.mark.parametrize(
    'options, expected',
    [
        (dict(num_frames=1), False),
        (dict(num_frames=2), True),
        ({}, True),
        (dict(temporal=dict(support_radius=1)), True),
        (dict(temporal=dict(type=ATA)), True),
        (dict(temporal=dict(type='TemporalAttention')), False),
    ],
)
def test_models_with_routes_have_them_drawn(options, expected):
    cfg = Config(dict(model=dict(backbone=dict(type='ATANet', **options))))
    assert follows_routes(cfg) == expected


def test_a_config_without_its_command_is_not_compared(tmp_path):
    (tmp_path / 'config.py').write_text('_base_ = []\n')
    check_command(tmp_path / 'config.py', 'any')


def test_a_training_that_has_begun_is_resumed(args, begun, monkeypatch):
    called = {}

    def run_tool(name, *words, **_):
        called[name] = list(map(str, words))

    monkeypatch.setattr(module, 'run_tool', run_tool)
    monkeypatch.setattr(module, 'newest_metrics', lambda folder: {})
    finetune(args)
    assert list(called) == [
        'train.py',
        'test.py',
        'predict.py',
        'visualize.py',
    ]
    assert '--resume' in called['train.py']
    assert 'epoch_3.pth' in called['test.py']


def test_a_folder_in_which_another_process_trains_is_left_alone(
    args, begun, monkeypatch
):
    code = (
        'import sys\n'
        'from ata_mm.cli.result_files import lock_file\n'
        'file = open(sys.argv[1], "wb")\n'
        'lock_file(file, "lock")\n'
        'print(flush=True)\n'
        'sys.stdin.read()'
    )
    other = subprocess.Popen(
        [sys.executable, '-c', code, begun / 'lock'],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    next(other.stdout)
    monkeypatch.setattr(module, 'run_tool', None)
    try:
        with pytest.raises(SystemExit, match='writing to .*work. Wait until'):
            finetune(args)
    finally:
        other.communicate()


@pytest.mark.parametrize('saved', [True, False])
def test_an_interrupt_is_one_line(args, begun, monkeypatch, capsys, saved):
    def run_tool(*words, **_):
        raise KeyboardInterrupt

    if not saved:
        (begun / 'train' / 'last_checkpoint').unlink()
    monkeypatch.setattr(module, 'run_tool', run_tool)
    with pytest.raises(SystemExit, match='^130$'):
        finetune(args)
    expected = 'resumes' if saved else 'starts again'
    assert capsys.readouterr().err.endswith(f'the same command {expected}\n')


def test_the_best_checkpoint_is_tested(begun):
    (begun / 'train' / 'best_acc_top1_epoch_2.pth').touch()
    assert best_checkpoint(begun / 'train').name == 'best_acc_top1_epoch_2.pth'


def test_folders_are_named_in_full(args, tmp_path):
    (tmp_path / 'clips.v1').mkdir()
    args.data = [str(tmp_path / 'clips.v1')]
    assert default_folder(args).name == 'clips.v1_ATATimeSformer-micro'


def test_options_reach_the_config(tmp_path):
    for name in 'ab':
        (tmp_path / 'data' / name).mkdir(parents=True)
        for number in range(4):
            (tmp_path / 'data' / name / f'{number}.mp4').touch()
    parser = argparse.ArgumentParser()
    add_finetune_options(parser)

    def prepare(folder, *words):
        backbone = '--backbone=ATATimeSformer-micro'
        args = parser.parse_args([str(tmp_path / 'data'), backbone, *words])
        cfg = load_config(prepare_config(args, tmp_path / folder))
        lines = (tmp_path / folder / 'val.txt').read_text().splitlines()
        return cfg, len(lines)

    cfg, validated = prepare(
        'given',
        '--epochs=7',
        '--frames=4',
        '--batch-size=3',
        '--seed=5',
        '--val-share=0.5',
        '--img-size=48',
        '--temporal=TemporalAttention',
    )
    assert cfg.train_cfg.max_epochs == 7 and validated == 4
    assert cfg.train_dataloader.batch_size == 3
    assert cfg.randomness.seed == 5
    backbone = cfg.model.backbone
    assert (backbone.num_frames, backbone.img_size) == (4, 48)
    assert backbone.temporal.type == 'TemporalAttention'
    cfg, validated = prepare('default')
    assert cfg.train_cfg.max_epochs == 30 and validated == 2
