# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def faulty(run, tiny_config, video_root, tmp_path_factory):
    """A run on a training set of a wrong label and, in two lines, a corrupt
    video."""
    folder = tmp_path_factory.mktemp('faulty')
    (folder / 'corrupt.mp4').write_bytes(b'no video')
    path = folder / 'list.txt'
    path.write_text(
        f'{video_root}/0.mp4 0\n'
        f'{video_root}/1.mp4 2\n'
        f'{folder}/corrupt.mp4 0\n'
        f'{folder}/corrupt.mp4 0\n'
    )
    return run(
        'check_dataset.py',
        tiny_config,
        '--workers',
        2,
        '--cfg-options',
        f'train_dataloader.dataset.ann_file={path}',
    )


def test_a_good_data_set_has_status_0(run, tiny_config):
    done = run('check_dataset.py', tiny_config)
    assert done.returncode == 0, done.stderr
    assert '| 1 | pan right | 2 | 2 | 2 |' in done.stdout
    assert done.stdout.endswith('train 4, val 4, test 4; faults: 0\n')
    assert '4/4' in done.stderr  # a file that is read three times counts once
    assert 'warning: 4 of 4 in val are in train, too' in done.stderr


def test_every_fault_is_named_and_shows_in_the_status(faulty):
    assert faulty.returncode == 1
    for line in (2, 3, 4):
        assert f'list.txt, line {line}:' in faulty.stderr
    assert faulty.stderr.count('corrupt.mp4 cannot be decoded') == 2
    assert faulty.stdout.endswith('faults: 3\n')


def test_an_empty_class_is_named(faulty):
    assert 'train: no sample of pan right' in faulty.stdout


def test_no_decode_leaves_the_videos_closed(run, tiny_config, tmp_path):
    (tmp_path / 'corrupt.mp4').write_bytes(b'no video')
    (tmp_path / 'list.txt').write_text('corrupt.mp4 0\ncorrupt.mp4 1\n')
    root = f'data_prefix.video={tmp_path}', f'ann_file={tmp_path}/list.txt'
    done = run(
        'check_dataset.py',
        tiny_config,
        '--no-decode',
        '--cfg-options',
        *(
            f'{loader}_dataloader.dataset.{option}'
            for option in root
            for loader in ('train', 'val', 'test')
        ),
    )
    assert done.returncode == 0, done.stderr


def test_a_fault_that_two_loaders_share_counts_once(
    run, tiny_config, tmp_path
):
    path = tmp_path / 'list.txt'
    path.write_text('0.mp4 0\n1.mp4 2\n')
    done = run(
        'check_dataset.py',
        tiny_config,
        '--no-decode',
        '--cfg-options',
        f'val_dataloader.dataset.ann_file={path}',
        f'test_dataloader.dataset.ann_file={path}',
    )
    assert done.stderr.count('line 2:') == 1


def test_names_of_other_classes_are_a_fault(run, tiny_config):
    done = run(
        'check_dataset.py',
        tiny_config,
        '--no-decode',
        '--cfg-options',
        'model.cls_head.num_classes=3',
    )
    assert done.returncode == 1
    assert 'each of the 3 classes' in done.stderr and 'got 2' in done.stderr


def test_parts_that_are_not_checked_are_named(run):
    config = ROOT / 'configs' / 'ata_vit_camera_motion.py'
    done = run(
        'check_dataset.py',
        config,
        '--cfg-options',
        'model.cls_head.num_classes=None',
    )
    assert done.stdout.count('not checked: CameraMotionDataset') == 3
    assert 'not checked: labels; cls_head' in done.stdout
    # A check that looked at nothing has not succeeded.
    assert done.returncode == 1
    assert 'nothing was checked' in done.stderr


MULTI_LABEL = [
    f'{loader}_dataloader.dataset.{option}'
    for loader in ('train', 'val', 'test')
    for option in ('multi_class=True', 'num_classes=2')
] + [
    'model.cls_head.multi_class=True',
    'model.cls_head.loss_cls.type=BCELossWithLogits',
]
METRICS = [
    f"{loader}_evaluator.metric_list=['mean_average_precision']"
    for loader in ('val', 'test')
]


def test_lists_of_several_labels_are_checked(run, tiny_config, tmp_path):
    path = tmp_path / 'list.txt'
    path.write_text('0.mp4 0 1\n1.mp4\n2.mp4 1 2\nlost.mp4 1\n')
    done = run(
        'check_dataset.py',
        tiny_config,
        '--cfg-options',
        f'train_dataloader.dataset.ann_file={path}',
        *MULTI_LABEL,
        *METRICS,
    )
    assert done.returncode == 1
    assert 'list.txt, line 3:' in done.stderr and 'got 2' in done.stderr
    assert 'list.txt, line 4:' in done.stderr
    assert '| 1 | pan right | 2 | 2 | 2 |' in done.stdout
    assert done.stdout.endswith('faults: 2\n')


def test_a_metric_of_one_label_is_a_fault(run, tiny_config):
    done = run('check_dataset.py', tiny_config, '--cfg-options', *MULTI_LABEL)
    assert done.returncode == 1
    assert 'mean_average_precision' in done.stderr


def test_faults_beyond_the_limit_are_counted(run, tiny_config, tmp_path):
    path = tmp_path / 'list.txt'
    path.write_text('lost.mp4 0\n' * 7)
    done = run(
        'check_dataset.py',
        tiny_config,
        '--no-decode',
        '--limit',
        2,
        '--cfg-options',
        f'train_dataloader.dataset.ann_file={path}',
    )
    assert done.stderr.count('fault: ') == 2
    assert '… and 5 more' in done.stderr
    assert done.stdout.endswith('faults: 7\n')


def test_pixels_that_are_not_normalised_are_warned_of(run, tiny_config):
    none = [f'model.data_preprocessor.{key}=None' for key in ('mean', 'std')]
    done = run(
        'check_dataset.py', tiny_config, '--no-decode', '--cfg-options', *none
    )
    assert done.returncode == 0
    assert 'warning: Expected mean and std' in done.stderr
