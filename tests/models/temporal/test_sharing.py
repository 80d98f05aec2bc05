# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
from functools import partial

import pytest
import torch
from mmaction.registry import MODELS

from ata_mm.models import ATA, ATATimeSformer, TemporalAttention
from ata_mm.models.temporal import AlignmentSharing
from ata_mm.ops import ExactMatcher
from ata_mm.registry import MATCHERS

ROUTES = dict(
    reference='first',
    refine=1,
    min_similarity=0.2,
    support_radius=1,
    route_heads=1,
)


@MATCHERS.register_module()
class CountingMatcher(ExactMatcher):
    """Matcher that records the number of patches of each problem."""

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
        **options,
    )


def timesformer(with_cp=False, **options):
    torch.manual_seed(0)
    return ATATimeSformer(
        num_frames=3,
        img_size=32,
        embed_dims=32,
        num_heads=4,
        num_layers=4,
        drop_path_rate=0.0,
        with_cp=with_cp,
        temporal=temporal(**options),
    )


def resnet(with_cp=False, blocks='layer*.*', **options):
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='ATABackbone',
            image_backbone=dict(
                type='ResNet', depth=18, norm_cfg=dict(type='BN')
            ),
            blocks=blocks,
            num_frames=3,
            img_size=64,
            with_cp=with_cp,
            temporal=temporal(**options),
        )
    )


builds = pytest.mark.parametrize(
    'build, options',
    [(timesformer, {}), (resnet, {}), (timesformer, ROUTES)],
)
CLIP = torch.randn(1, 3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_each_block_matches_its_input_by_default(solved):
    timesformer()(CLIP)
    assert solved == [4, 4, 4, 4]


@pytest.mark.parametrize('share, solves', [(2, 2), (3, 2), ('stage', 1)])
def test_routes_are_reused_by_the_next_blocks(solved, share, solves):
    timesformer(share_alignment=share)(CLIP)
    assert len(solved) == solves


def test_every_resolution_is_matched(solved):
    clip = torch.randn(1, 3, 3, 64, 64)
    resnet(share_alignment='stage')(clip)
    # The first block of a stage has the resolution of the previous stage.
    assert solved == [256, 64, 16, 4]


@pytest.mark.parametrize(
    'build', [timesformer, partial(resnet, blocks='layer1.*')]
)
def test_routes_are_not_reused_in_the_next_forward_pass(solved, build):
    model = build(share_alignment='stage').eval()
    model(CLIP)
    first = len(solved)
    model(CLIP)
    assert len(solved) == 2 * first


@builds
def test_recomputation_solves_no_matching_again(solved, build, options):
    for with_cp in (False, True):
        solved.append('forward')
        build(with_cp, **options).train()(CLIP).sum().backward()
    plain, recomputed = ' '.join(map(str, solved)).split('forward')[1:]
    assert plain.split() == recomputed.split()


@pytest.mark.parametrize(
    'build, part',
    [
        (timesformer, 'blocks.0.mlp'),
        (partial(resnet, blocks='layer4.*'), 'temporal.0.attn'),
    ],
    ids=['vit', 'resnet'],
)
@pytest.mark.parametrize('with_cp', [False, True])
def test_the_backward_pass_recomputes(build, part, with_cp):
    model, calls = build(with_cp).train(), []
    # Before the module: its recomputation may end within it.
    model.get_submodule(part).register_forward_pre_hook(
        lambda *_: calls.append(part)
    )
    model(CLIP).sum().backward()
    assert len(calls) == 1 + with_cp


@builds
def test_recomputation_gives_equal_gradients(build, options):
    gradients = []
    for with_cp in (False, True):
        model = build(with_cp, share_alignment=2, **options).train()
        model(CLIP).square().sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize('share', [0, 'block', 1.5, True])
def test_refuses_invalid_share_alignment(share):
    with pytest.raises(ValueError, match='share_alignment'):
        timesformer(share_alignment=share)


def test_sharing_needs_dealignment():
    with pytest.raises(ValueError, match='dealign=True'):
        timesformer(share_alignment=2, dealign=False)


def test_routes_are_not_reused_by_blocks_with_other_sharing(solved):
    model = timesformer(share_alignment=3)
    model.blocks[2].temporal.share_alignment = 1
    model.blocks[3].temporal.share_alignment = 1
    model(CLIP)
    assert len(solved) == 3


def local(radius, **options):
    matcher = dict(type='LocalMatcher', radius=radius)
    return ATA(24, 3, matcher=matcher, share_alignment='stage', **options)


def share(*modules):
    """Return the alignments of modules with the same input."""
    sharing, x = AlignmentSharing(), torch.randn(1, 3, 25, 24)
    return [sharing(module, x, grid=(5, 5)) for module in modules]


def test_equal_matchers_share():
    first, second = share(local(1), local(1))
    assert first is second


def test_matchers_with_other_options_do_not_share():
    first, second = share(local(1), local(3))
    assert first is not second
    assert not torch.equal(first.routes, second.routes)


def test_modules_that_match_other_features_do_not_share():
    first, second = share(local(1), local(1, match_on='content'))
    assert first is not second


def test_modules_with_other_options_do_not_share():
    first, second = share(local(1), local(1, reference='first'))
    assert first is not second


def test_modules_with_other_numbers_of_heads_along_the_routes_share():
    first, second = share(local(1), local(1, route_heads=1))
    assert first is second


def test_modules_of_other_classes_do_not_share():

    class Opposite(ATA):
        def matched_features(self, x, position=None):
            return x.flip(1)

    other = Opposite(24, 3, share_alignment='stage')
    first, second = share(ATA(24, 3, share_alignment='stage'), other)
    assert first is not second


def test_keys_are_not_compared_unless_alignments_are_shared():

    class Key:
        def __eq__(self, other):
            raise AssertionError('compared')

    modules = ATA(24, 3), ATA(24, 3)
    for module in modules:
        module.alignment_key = Key
    first, second = share(*modules)
    assert first is not second


def test_module_without_alignment_does_not_end_the_sharing():
    first, none, second = share(local(1), TemporalAttention(24, 3), local(1))
    assert none is None
    assert first is second
