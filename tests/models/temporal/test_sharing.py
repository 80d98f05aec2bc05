# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
from functools import partial

import pytest
import torch
from mmaction.registry import MODELS

from ata_mm.models import ATATimeSformer
from ata_mm.ops import ExactMatcher
from ata_mm.registry import MATCHERS


@MATCHERS.register_module()
class CountingMatcher(ExactMatcher):
    """Notes how many patches a frame has in each problem that it solves."""
    solved = []

    def __call__(self, similarity, grid=None):
        self.solved.append(similarity.shape[-1])
        return super().__call__(similarity, grid)


@pytest.fixture
def solved():
    CountingMatcher.solved.clear()
    return CountingMatcher.solved


def temporal(**options):
    return dict(
        type='ATA',
        matcher=dict(type='CountingMatcher'),
        zero_init=False,
        **options)


def timesformer(with_cp=False, **options):
    torch.manual_seed(0)
    return ATATimeSformer(
        num_frames=3,
        img_size=32,
        embed_dims=32,
        num_heads=4,
        num_layers=4,
        drop_path_rate=0.,
        with_cp=with_cp,
        temporal=temporal(**options))


def resnet(with_cp=False, blocks='layer*.*', **options):
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='ATABackbone',
            image_backbone=dict(
                type='ResNet', depth=18, norm_cfg=dict(type='BN')),
            blocks=blocks,
            num_frames=3,
            img_size=64,
            with_cp=with_cp,
            temporal=temporal(**options)))


CLIP = torch.randn(1, 3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_each_block_matches_by_itself(solved):
    timesformer()(CLIP)
    assert solved == [4, 4, 4, 4]


@pytest.mark.parametrize('share, solves', [(2, 2), (3, 2), ('stage', 1)])
def test_routes_serve_the_next_blocks(solved, share, solves):
    timesformer(share_alignment=share)(CLIP)
    assert len(solved) == solves


def test_other_resolutions_are_matched_anew(solved):
    clip = torch.randn(1, 3, 3, 64, 64)
    resnet(share_alignment='stage')(clip)
    # The first block of a stage has the input of the stage before.
    assert solved == [256, 64, 16, 4]


@pytest.mark.parametrize(
    'build', [timesformer, partial(resnet, blocks='layer1.*')])
def test_no_routes_are_left_from_the_clips_before(solved, build):
    model = build(share_alignment='stage').eval()
    model(CLIP)
    first = len(solved)
    model(CLIP)
    assert len(solved) == 2 * first


@pytest.mark.parametrize('build', [timesformer, resnet])
def test_recomputation_matches_nothing_again(solved, build):
    for with_cp in (False, True):
        solved.append('forward')
        build(with_cp).train()(CLIP).sum().backward()
    plain, recomputed = ' '.join(map(str, solved)).split('forward')[1:]
    assert plain.split() == recomputed.split()


@pytest.mark.parametrize('build', [timesformer, resnet])
def test_recomputation_gives_equal_gradients(build):
    gradients = []
    for with_cp in (False, True):
        model = build(with_cp, share_alignment=2).train()
        model(CLIP).square().sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize('share', [0, 'block', 1.5])
def test_refuses_what_is_no_number_of_blocks(share):
    with pytest.raises(ValueError, match='share_alignment'):
        timesformer(share_alignment=share)


def test_refuses_to_share_where_patches_stay_in_route_order():
    with pytest.raises(ValueError, match='dealign=True'):
        timesformer(share_alignment=2, dealign=False)


def test_routes_are_not_handed_to_blocks_that_share_otherwise(solved):
    model = timesformer(share_alignment=3)
    model.blocks[2].temporal.share_alignment = 1
    model.blocks[3].temporal.share_alignment = 1
    model(CLIP)
    assert len(solved) == 3
