# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
SHARE = 'model.backbone.temporal.share_alignment=stage'


def test_later_blocks_keep_a_part_of_the_gain(run, tiny_config, checkpoint,
                                              video_root):
    done = run('measure_sharing.py', video_root / '0.mp4', '--config',
               tiny_config, '--checkpoint', checkpoint, '--cfg-options', SHARE)
    assert done.returncode == 0, done.stderr
    *_, first, second = done.stdout.splitlines()
    assert first.startswith('| 0 |') and first.endswith(' 1.000 |')
    _, followed, own, kept = map(float, second.strip('| ').split('|')[1:])
    assert followed <= own and kept <= 1


def test_a_model_without_ata_is_one_line(run, tiny_config, checkpoint,
                                         video_root):
    done = run('measure_sharing.py', video_root / '0.mp4', '--config',
               tiny_config, '--checkpoint', checkpoint, '--cfg-options',
               'model.backbone.temporal.type=TemporalAttention')
    assert done.returncode == 1 and 'has no ATA' in done.stderr
