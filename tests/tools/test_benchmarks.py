# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import importlib
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from ata_mm.models import ATATimeSformer

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


@pytest.fixture
def benchmark_model(monkeypatch):
    """The tool as a module, with a small model in place of ViT-B."""
    monkeypatch.syspath_prepend(TOOLS)
    tool = importlib.import_module('benchmark_model')
    small = ATATimeSformer(
        num_frames=8,
        img_size=224,
        patch_size=32,
        embed_dims=24,
        num_heads=2,
        num_layers=1,
        temporal=dict(type='ATA'),
    )
    monkeypatch.setattr(tool, 'build_models', lambda *args: {'small': small})
    return tool


def test_matching_prints_a_table(run, write_video, tmp_path):
    video = tmp_path / 'a.mp4'
    write_video(video, num_frames=8)
    done = run(
        'benchmark_matching.py',
        video,
        '--batch',
        1,
        '--interval',
        1,
        '--rounds',
        1,
    )
    assert done.returncode == 0, done.stderr
    assert 'B, T, N, C = (1, 8, 196, 768)' in done.stdout
    assert '| ExactMatcher, lapx |' in done.stdout


def test_matching_of_large_maps_leaves_out_what_is_slow(
    run, write_video, tmp_path
):
    video = tmp_path / 'a.mp4'
    write_video(video, num_frames=8)
    done = run(
        'benchmark_matching.py',
        video,
        '--batch',
        1,
        '--num-frames',
        2,
        '--interval',
        1,
        '--rounds',
        1,
        '--patch',
        4,
    )
    assert done.returncode == 0, done.stderr
    assert '| CoarseToFineMatcher |' in done.stdout
    assert 'scipy' not in done.stdout


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


def test_gain_is_that_over_leaving_patches_in_place(benchmark_model):
    from benchmark_matching import LITERAL, gains

    gained = gains(torch.randn(2, 3, 16, 8))
    assert gained.pop(LITERAL) == '1'
    assert gained['ExactMatcher, scipy'] == '1.000'
    assert 0 < float(gained['LocalMatcher']) <= 1


def test_a_still_video_has_no_gain(benchmark_model):
    from benchmark_matching import gains

    still = torch.randn(1, 1, 16, 8).expand(1, 2, 16, 8)
    assert gains(still)['ExactMatcher, scipy'] == '–'


def test_matching_refuses_a_side_that_does_not_divide(run):
    done = run('benchmark_matching.py', '--batch', 1, '--patch', 9)
    assert done.returncode == 1
    assert '224 x 224, got 9' in done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.parametrize('train', [False, True])
def test_model_prints_what_it_reaches(
    benchmark_model, monkeypatch, capsys, train
):
    options = ['--rounds', '1', '--device', 'cpu'] + ['--train'] * train
    monkeypatch.setattr(sys, 'argv', ['benchmark_model.py', *options])
    benchmark_model.main()
    printed = capsys.readouterr().out
    assert 'a product of 2048x2048 matrices: ' in printed
    assert ('% |' in printed) != train


@pytest.mark.parametrize('train', [False, True])
def test_model_steps_under_autocast(benchmark_model, train):
    model = benchmark_model.build_models()['small'].train(train)
    benchmark_model.step(model, torch.randn(1, 3, 8, 224, 224), train, True)
    assert (model.cls_token.grad is not None) == train


def test_shares_count_two_operations_a_product(benchmark_model):
    models = dict(line=nn.Linear(4, 5))
    # 3 * 4 * 5 = 60 products in 2 s, and 10 ** 3 in 1 s
    shares = benchmark_model.peak_shares(
        models, torch.randn(3, 4), 10, dict(line=[2.0]), [1.0]
    )
    assert shares == dict(line='3%')
