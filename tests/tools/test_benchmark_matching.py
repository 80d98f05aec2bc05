# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import importlib
from pathlib import Path

import pytest
import torch

from ata_mm.ops.lap.operator import HAS_TRITON

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


@pytest.fixture
def gains(monkeypatch):
    """The function of the tool."""
    monkeypatch.syspath_prepend(TOOLS)
    return importlib.import_module('benchmark_matching').gains


@pytest.fixture
def benchmark(run, write_video, tmp_path):
    """Time one clip of a video of this length; return what is printed."""

    def benchmark(num_frames, *options):
        write_video(tmp_path / 'a.mp4', num_frames=num_frames)
        fast = '--batch', 1, '--interval', 1, '--rounds', 1
        done = run(
            'benchmark_matching.py', tmp_path / 'a.mp4', *fast, *options
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return benchmark


def test_matching_prints_a_table(benchmark):
    table = benchmark(8)
    assert 'B, T, N, C = (1, 8, 196, 768)' in table
    assert '| ExactMatcher, lapx |' in table


def test_matching_of_large_maps_leaves_out_what_is_slow(benchmark):
    table = benchmark(8, '--num-frames', 2, '--patch', 4)
    assert '| CoarseToFineMatcher |' in table
    assert 'scipy' not in table


def test_options_are_compared_with_the_default(benchmark):
    table = benchmark(3, '--num-frames', 3, '--options')
    assert '| default |' in table
    assert "| support_radius=1, reference='first-or-previous'" in table


@pytest.mark.skipif(not HAS_TRITON, reason='needs triton')
def test_steps_of_the_kernel_are_counted(benchmark):
    # Interpreted where there is no GPU, see conftest.
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    options = '--num-frames', 2, '--patch', 32, '--device', device
    table = benchmark(2, *options, '--steps').splitlines()
    names = [row.split(' | ')[0] for row in table[-2:]]
    assert names == ['| row reduction', '| searches']


def test_matching_refuses_a_short_video(run, write_video, tmp_path):
    video = tmp_path / 'a.mp4'
    write_video(video, num_frames=8)
    done = run('benchmark_matching.py', video, '--interval', 2)
    assert done.returncode == 1
    assert 'Expected at least 15 frames, got 8' in done.stderr
    assert 'Traceback' not in done.stderr


def test_matching_draws_time_against_size(run, tmp_path):
    path = tmp_path / 'time.png'
    done = run(
        'benchmark_matching.py',
        '--batch',
        1,
        '--rounds',
        1,
        '--plot',
        path,
        '--sides',
        56,
        32,
        28,
    )
    assert done.returncode == 0, done.stderr
    assert '| ms a pair, N = | 16 | 49 | 64 | grows as |' in done.stdout
    assert '| CoarseToFineMatcher | ' in done.stdout
    assert path.read_bytes().startswith(b'\x89PNG')


def test_gain_is_that_over_leaving_patches_in_place(gains):
    gained = gains(torch.randn(2, 3, 16, 8))
    assert gained['Algorithm 1, literally (scipy)'] == '1'
    assert gained['ExactMatcher, scipy'] == '1.000'
    assert 0 < float(gained['LocalMatcher']) <= 1


def test_a_still_video_has_no_gain(gains):
    still = torch.randn(1, 1, 16, 8).expand(1, 2, 16, 8)
    assert gains(still)['ExactMatcher, scipy'] == '–'


def test_matching_refuses_a_side_that_does_not_divide(run):
    done = run('benchmark_matching.py', '--batch', 1, '--patch', 9)
    assert done.returncode == 1
    assert '224 x 224, got 9' in done.stderr
    assert 'Traceback' not in done.stderr
