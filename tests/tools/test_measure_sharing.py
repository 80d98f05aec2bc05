# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import importlib
from pathlib import Path

import pytest
import torch

from ata_mm.apis import VideoRecognizer, load_config
from ata_mm.introspection import observe
from ata_mm.ops import Alignment, align_frames
from ata_mm.ops.permutation import identity
from ata_mm.video import read_view

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
SHARE = 'model.backbone.temporal.share_alignment'


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    return importlib.import_module('measure_sharing')


@pytest.fixture
def recognizer(tiny_config, checkpoint):
    cfg = load_config(tiny_config, {SHARE: 'stage'})
    return VideoRecognizer(cfg, str(checkpoint), 'cpu')


def test_a_row_for_each_block(run, tiny_config, checkpoint, video_root):
    done = run(
        'measure_sharing.py',
        video_root / '0.mp4',
        '--config',
        tiny_config,
        '--checkpoint',
        checkpoint,
        '--cfg-options',
        f'{SHARE}=stage',
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('1 videos\n\n| ATA | in place | followed |')
    *_, first, second = done.stdout.splitlines()
    assert first.startswith('| 0 |') and first.endswith(' 1.000 |')
    _, in_place, followed, own, kept = map(
        float, second.strip('| ').split('|')
    )
    assert kept == pytest.approx(
        (followed - in_place) / (own - in_place), abs=0.02
    )


def test_later_blocks_are_measured_along_the_routes_of_the_first(
    tool, recognizer, video_root
):
    video = str(video_root / '0.mp4')
    (_, first, own), (_, followed, best) = tool.measure(recognizer, video)
    assert first == own and followed < best
    view = read_view(video, recognizer.cfg)
    one, two = observe(recognizer.model, view.inputs).blocks
    routes = align_frames(one.features, grid=one.grid)
    assert followed == routes.similarity(two.features).mean()
    assert best == align_frames(two.features).similarity(two.features).mean()


def test_in_place_is_along_routes_that_stay(tool, recognizer, video_root):
    video = str(video_root / '1.mp4')
    values = tool.measure(recognizer, video)[:, 0]
    inputs = read_view(video, recognizer.cfg).inputs
    for value, block in zip(values, observe(recognizer.model, inputs).blocks):
        stay = Alignment(identity(*block.features.shape[:3]))
        torch.testing.assert_close(
            value, stay.similarity(block.features).mean()
        )


def test_a_model_without_ata_is_one_line(
    run, tiny_config, checkpoint, video_root
):
    done = run(
        'measure_sharing.py',
        video_root / '0.mp4',
        '--config',
        tiny_config,
        '--checkpoint',
        checkpoint,
        '--cfg-options',
        'model.backbone.temporal.type=TemporalAttention',
    )
    assert done.returncode == 1 and 'has no ATA' in done.stderr


def test_kept_is_the_share_of_the_gain(tool):
    row = tool.table([[0.2, 0.3, 0.6]]).splitlines()[-1]
    assert row == '| 0 | 0.200 | 0.300 | 0.600 | 0.250 |'


def test_a_still_video_has_no_share(tool):
    row = tool.table([[1.0, 1.0, 1.0]]).splitlines()[-1]
    assert row == '| 0 | 1.000 | 1.000 | 1.000 | – |'
