# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.


def test_prints_a_row_for_each_config(run, tiny_config):
    done = run('get_flops.py', tiny_config, tiny_config)
    assert done.returncode == 0, done.stderr
    *_, first, second = done.stdout.splitlines()
    assert first == second
    assert first.startswith('| tiny | 3x4x32x32 | 0.0 | 0.0 | 6 x 4 |')


def test_takes_another_view_and_other_options(run, tiny_config):
    done = run(
        'get_flops.py',
        tiny_config,
        '--shape',
        2,
        64,
        64,
        '--cfg-options',
        'model.backbone.num_frames=2',
        'model.backbone.img_size=64',
        'model.backbone.embed_dims=768',
        'model.cls_head.in_channels=768',
    )
    assert done.returncode == 0, done.stderr
    row = done.stdout.splitlines()[-1]
    assert row.startswith('| tiny | 3x2x64x64 | 20.7 | 0.7 | 2 x 16 |')


def test_missing_config_is_one_line(run):
    done = run('get_flops.py', 'nowhere.py')
    assert done.returncode == 1
    assert 'config nowhere.py is not a file' in done.stderr
    assert 'Traceback' not in done.stderr


def test_an_unknown_part_is_one_line(run, tiny_config):
    done = run('get_flops.py', tiny_config, '--without', 'CycleFc')
    assert done.returncode == 1
    assert 'but no model has CycleFc' in done.stderr
    assert 'Traceback' not in done.stderr
