# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import importlib
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
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


def test_a_still_video_has_no_share(monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    table = importlib.import_module('measure_sharing').table
    row = table([[1., 1., 1.]]).splitlines()[-1]
    assert row == '| 0 | 1.000 | 1.000 | 1.000 | – |'
