# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
def test_matching_prints_a_table(run, write_video, tmp_path):
    video = tmp_path / 'a.mp4'
    write_video(video, num_frames=8)
    done = run('benchmark_matching.py', video, '--batch', 1, '--interval', 1,
               '--rounds', 1)
    assert done.returncode == 0, done.stderr
    assert 'B, T, N, C = (1, 8, 196, 768)' in done.stdout
    assert '| align_frames, lapx |' in done.stdout


def test_matching_of_large_maps_says_what_it_keeps(run, write_video, tmp_path):
    video = tmp_path / 'a.mp4'
    write_video(video, num_frames=8)
    done = run('benchmark_matching.py', video, '--batch', 1, '--interval', 1,
               '--rounds', 1, '--patch', 7)
    assert done.returncode == 0, done.stderr
    assert '% of the gain.' in done.stdout


def test_matching_refuses_a_short_video(run, write_video, tmp_path):
    video = tmp_path / 'a.mp4'
    write_video(video, num_frames=8)
    done = run('benchmark_matching.py', video, '--interval', 2)
    assert done.returncode == 1
    assert 'expected at least 15 frames, got 8' in done.stderr
    assert 'Traceback' not in done.stderr
