# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import json
import pickle

import pytest
import torch


@pytest.fixture(scope='module')
def metrics(dump):
    """The metrics that test.py has written."""
    path = next((dump.parent / 'tested').glob('*/*.json'))
    return json.loads(path.read_text())


def test_accuracy_is_that_of_the_dump(metrics, dump):
    with open(dump, 'rb') as file:
        samples = pickle.load(file)
    right = [s['pred_score'].argmax() == s['gt_label'] for s in samples]
    assert metrics['acc/top1'] == pytest.approx(sum(right).item() / 4)


def test_every_weight_must_be_in_the_checkpoint(
    run, tiny_config, checkpoint, tmp_path
):
    done = run(
        'test.py',
        tiny_config,
        checkpoint,
        '--work-dir',
        tmp_path,
        '--cfg-options',
        'model.backbone.num_layers=3',
    )
    assert done.returncode == 1
    assert 'Expected every parameter of the backbone' in done.stderr


def test_weights_that_are_not_finite_have_no_accuracy(
    run, tiny_config, checkpoint, tmp_path
):
    loaded = torch.load(checkpoint)
    loaded['state_dict']['backbone.norm.weight'][0] = float('nan')
    torch.save(loaded, tmp_path / 'nan.pth')
    done = run(
        'test.py', tiny_config, tmp_path / 'nan.pth', '--work-dir', tmp_path
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        f'test.py: error: Expected finite weights in {tmp_path}/nan.pth'
    )
    assert 'acc/top1' not in done.stdout + done.stderr


@pytest.mark.parametrize('options', [(), ('runner_type=Runner',)])
def test_scores_that_are_not_finite_have_no_accuracy(
    run, tiny_config, checkpoint, tmp_path, options
):
    loaded = torch.load(checkpoint)
    loaded['state_dict']['cls_head.fc_cls.weight'].fill_(3e38)
    torch.save(loaded, tmp_path / 'inf.pth')
    done = run(
        'test.py',
        tiny_config,
        tmp_path / 'inf.pth',
        '--work-dir',
        tmp_path,
        *(('--cfg-options', *options) if options else ()),
    )
    assert done.returncode == 1
    assert 'error: Expected finite scores' in done.stderr.splitlines()[-1]


def test_a_damaged_checkpoint_is_named(run, tiny_config, checkpoint, tmp_path):
    (tmp_path / 'cut.pth').write_bytes(checkpoint.read_bytes()[:9000])
    done = run(
        'test.py', tiny_config, tmp_path / 'cut.pth', '--work-dir', tmp_path
    )
    last = done.stderr.splitlines()[-1]
    assert last.startswith('test.py: error: ') and 'cut.pth' in last


@pytest.mark.parametrize('workers', [0, 2])
def test_bad_video_is_named(
    workers, run, tiny_config, checkpoint, video_root, tmp_path
):
    (tmp_path / 'empty.mp4').touch()
    lines = f'{video_root}/0.mp4 0\n{tmp_path}/empty.mp4 1\n'
    (tmp_path / 'list.txt').write_text(lines)
    done = run(
        'test.py',
        tiny_config,
        checkpoint,
        '--work-dir',
        tmp_path / 'work',
        '--cfg-options',
        f'test_dataloader.dataset.ann_file={tmp_path}/list.txt',
        f'test_dataloader.num_workers={workers}',
    )
    assert done.returncode == 1
    assert f'{tmp_path}/empty.mp4 is empty.' in done.stderr.splitlines()[-1]
