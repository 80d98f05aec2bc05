# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
import torch
from mmaction.registry import MODELS

from ata_mm.datasets import CLASSES, CameraMotionDataset, Layer
from ata_mm.evaluation import LayeredClip, RouteCount, count_followed
from ata_mm.models import ATA
from ata_mm.models.controls import GivenRoutesATA, RandomMatcher
from ata_mm.models.temporal import AlignmentSharing

PIPELINE = [
    dict(type='CachedVideo', height=24),
    dict(type='SampleFrames', clip_len=8, num_clips=1, test_mode=True),
    dict(type='ArrayDecodeWithPositions'),
    dict(type='FormatShape', input_format='NCTHW'),
]
BACKBONE = dict(
    type='TrueMotionTimeSformer',
    num_frames=8,
    img_size=24,
    patch_size=4,
    embed_dims=8,
    num_heads=2,
    num_layers=2,
    temporal=dict(type='GivenRoutesATA'),
)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return str(tmp_path_factory.mktemp('videos'))


@pytest.fixture
def dataset(root):
    """A video of each camera motion, in squares of 48 pixels."""
    return CameraMotionDataset(
        root,
        'val',
        PIPELINE,
        num_videos=8,
        size=(48, 48),
        speed=(6.0, 6.0),
        test_mode=True,
    )


def true_routes(results):
    backbone = MODELS.build(BACKBONE).eval()
    with torch.no_grad():
        backbone(torch.from_numpy(results['imgs']))
    return [block.temporal.given for block in backbone.blocks]


def test_random_matches_are_permutations():
    matching = RandomMatcher().match(torch.zeros(3, 2, 36, 36))
    assert (matching.sort().values == torch.arange(36)).all()


def test_random_matches_differ_between_frames_and_calls():
    similarity = torch.eye(36).expand(2, 36, 36)
    first, second = (RandomMatcher().match(similarity) for _ in range(2))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, second)


@pytest.mark.parametrize('share, shared', [(1, False), (2, True)])
def test_random_routes_are_shared_where_that_is_asked_for(share, shared):
    options = dict(matcher='RandomMatcher', share_alignment=share)
    first, second = (ATA(24, 3, **options) for _ in range(2))
    sharing, x = AlignmentSharing(), torch.randn(1, 3, 36, 24)
    assert (sharing(first, x) is sharing(second, x)) is shared


def test_true_routes_follow_the_camera(dataset):
    total = RouteCount()
    for results in dataset:
        if CLASSES[results['label']].startswith('zoom'):
            continue  # patches share what they show, or show what others did
        start = results['frame_inds'][0]
        poses = results['layers']()[0].poses[start : start + 8]
        frames = np.zeros((8, 48, 48, 3), np.uint8)
        clip = LayeredClip(frames, [Layer(poses)])
        total += count_followed(true_routes(results)[0], clip, (6, 6))['step']
    assert total.within_share > 0.9
    assert total.kept_within / total.kept > 0.9


def test_all_blocks_have_the_same_routes(dataset):
    first, second = true_routes(dataset[0])
    assert first is second


def test_routes_that_no_backbone_gives_are_named():
    with pytest.raises(ValueError, match='TrueMotionTimeSformer'):
        GivenRoutesATA(8, 2)(torch.rand(1, 2, 4, 8))


def test_clips_without_positions_are_named():
    with pytest.raises(ValueError, match='5, 8, 24, 24'):
        MODELS.build(BACKBONE)(torch.rand(1, 3, 8, 24, 24))


def test_colours_alone_are_embedded(dataset):
    backbone = MODELS.build(BACKBONE)
    assert backbone.patch_embed.proj.in_channels == 3
