# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
SHORT = ('--rounds', 1, '--clips', 2)


def test_each_way_to_read_has_a_row(run, video_root):
    done = run('benchmark_reading.py', video_root / '0.mp4', *SHORT)
    assert done.returncode == 0, done.stderr
    rows = [line.split(' | ')[0] for line in done.stdout.splitlines()]
    for name in ('MMAction2, decord', 'pyav', 'auto', 'prediction, auto'):
        assert f'| {name}' in rows
    assert '| decord' not in rows  # refused: too narrow


def test_own_videos_are_made(run):
    done = run('benchmark_reading.py', *SHORT, '--frames', 70)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('| decord |') == 2
    assert '1280x720.mp4' in done.stdout


def test_a_file_that_is_no_video_is_named(run, tmp_path):
    (tmp_path / 'text.mp4').write_text('text')
    done = run('benchmark_reading.py', tmp_path / 'text.mp4')
    assert done.returncode == 1
    assert 'text.mp4 cannot be decoded' in done.stderr
    assert 'Traceback' not in done.stderr
