# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""The headline recipe on a handful of videos laid out as Kinetics-400."""
from pathlib import Path

import pytest

CONFIG = Path(__file__).resolve().parents[2] / 'configs/ata_vit_k400.py'
LAYERS = ('num_layers=1', 'embed_dims=24', 'num_heads=2', 'pretrained=None')


@pytest.fixture(scope='module')
def options(write_video, tmp_path_factory):
    """Small parts for the recipe, by --cfg-options."""
    root = tmp_path_factory.mktemp('kinetics400')
    words = [f'model.backbone.{layer}' for layer in LAYERS]
    words += ['model.cls_head.in_channels=24', 'train_cfg.max_epochs=1']
    for split, loaders in (('train', ['train']), ('val', ['val', 'test'])):
        lines = []
        for label, name in enumerate(['abseiling', 'zumba']):
            folder = root / f'videos_{split}' / name
            folder.mkdir(parents=True)
            write_video(folder / 'a.mp4', num_frames=40, seed=label)
            lines.append(f'{name}/a.mp4 {label}\n')
        (root / f'{split}.txt').write_text(''.join(lines))
        for loader in loaders:
            dataset = f'{loader}_dataloader.dataset'
            words += [
                f'{dataset}.ann_file={root}/{split}.txt',
                f'{dataset}.data_prefix.video={root}/videos_{split}',
                f'{loader}_dataloader.batch_size=1',
                f'{loader}_dataloader.num_workers=0'
            ]
    return ['--cfg-options', *words]


def test_trains_two_iterations_and_tests_three_views(run, options, tmp_path):
    done = run('train.py', CONFIG, '--work-dir', tmp_path, *options)
    assert done.returncode == 0, done.stderr
    assert 'Epoch(train) [1][2/2]' in done.stdout + done.stderr
    done = run('test.py', CONFIG, tmp_path / 'epoch_1.pth', '--work-dir',
               tmp_path, *options)
    assert done.returncode == 0, done.stderr
    assert 'acc/top1' in done.stdout + done.stderr
