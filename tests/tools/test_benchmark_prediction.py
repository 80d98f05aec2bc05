# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
BRIEF = '--rounds', 1, '--copies', 2, '--batch', 2, '--workers', 1
SMALL = '--cfg-options', 'model.backbone.num_layers=1'


def test_each_way_to_predict_has_a_row(run):
    done = run('benchmark_prediction.py', *BRIEF, *SMALL)
    assert done.returncode == 0, done.stderr
    rows = [line.split(' | ')[0] for line in done.stdout.splitlines()]
    for name in ('one by one', 'batch 2, workers 1'):
        assert f'| {name}' in rows
    assert float(done.stderr.split('difference of a score: ')[1]) < 1e-6


def test_shares_of_an_own_model(run, video_root, tiny_config, checkpoint):
    model = '--config', tiny_config, '--checkpoint', checkpoint
    video = video_root / '0.mp4'
    done = run('benchmark_prediction.py', video, *model, *BRIEF)
    assert done.returncode == 0, done.stderr
    *_, decoding, model, matching = done.stdout.splitlines()
    rows = [
        row.strip('| ').split(' | ') for row in (decoding, model, matching)
    ]
    assert [name for name, *_ in rows] == ['decoding', 'model', 'matching']
    assert all(float(ms) > 0 for _, ms, _ in rows)


def test_a_file_that_is_no_video_is_named(run, tmp_path):
    (tmp_path / 'text.mp4').write_text('text')
    done = run('benchmark_prediction.py', tmp_path / 'text.mp4')
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert 'text.mp4 cannot be decoded' in done.stderr
