# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""ATA with differentiable matchers."""

import pytest
import torch
import torch.nn.functional as F
from mmaction.registry import MODELS

from ata_mm.models import ATA, ATATimeSformer

SOFT = {
    'Sinkhorn': dict(type='SinkhornMatcher', temperature=0.2),
    'Displacement': dict(type='DisplacementMatcher', temperature=0.2),
}
ROUTES = dict(
    reference='first',
    refine=1,
    min_similarity=0.2,
    support_radius=1,
    route_heads=1,
)
CLIP = torch.randn(1, 3, 3, 32, 48, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=SOFT)
def matcher(request):
    return SOFT[request.param]


def ata(matcher, **options):
    torch.manual_seed(0)
    return ATA(24, 3, zero_init=False, matcher=matcher, **options).eval()


def test_route_encoding_along_routes_of_a_moving_scene():
    # Composed, weights that do not sum to 1 would lead out of the grid.
    generator = torch.Generator().manual_seed(0)
    scene = torch.rand(1, 24, 14, 29, generator=generator)
    scene = F.avg_pool2d(scene, 5, 1, 2)
    x = torch.stack([scene[..., t : t + 14] for t in range(16)], 1)
    x = (x - x.mean()).flatten(3).transpose(2, 3)
    module = ata('SinkhornMatcher', route_encoding=True)
    assert module(x, None, (14, 14)).isfinite().all()


def timesformer(with_cp=False, **options):
    torch.manual_seed(0)
    return ATATimeSformer(
        num_frames=3,
        img_size=(32, 48),
        embed_dims=32,
        num_heads=4,
        num_layers=2,
        drop_path_rate=0.0,
        with_cp=with_cp,
        temporal=dict(type='ATA', zero_init=False, **options),
    )


def resnet(with_cp=False, **options):
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='ATABackbone',
            image_backbone=dict(
                type='ResNet', depth=18, norm_cfg=dict(type='BN')
            ),
            blocks='layer[34].*',
            num_frames=3,
            img_size=64,
            with_cp=with_cp,
            temporal=dict(type='ATA', zero_init=False, **options),
        )
    )


def gradients(model, clip=CLIP):
    model.train()(clip).square().mean().backward()
    return [p.grad for p in model.parameters()]


@pytest.mark.parametrize(
    'build, options',
    [
        (timesformer, {}),
        (timesformer, dict(share_alignment=2)),
        (timesformer, ROUTES),
        (resnet, {}),
        (resnet, dict(share_alignment=2)),
    ],
)
def test_recomputation_gives_equal_gradients(matcher, build, options):
    plain, recomputed = (
        gradients(build(with_cp, matcher=matcher, **options))
        for with_cp in (False, True)
    )
    torch.testing.assert_close(plain, recomputed)


def test_gradients_flow_through_the_matching(matcher):
    module, x = ata(matcher), torch.randn(1, 3, 12, 24, requires_grad=True)
    free = module.alignment(x, grid=(3, 4))
    fixed = module.alignment(x.detach(), grid=(3, 4))
    through, past = (
        torch.autograd.grad(module(x, alignment=a).square().sum(), x)[0]
        for a in (free, fixed)
    )
    assert (through - past).abs().max() > 1e-4


def test_gradients_flow_to_the_matched_content(matcher):
    module = ata(matcher, match_on='content')
    x = torch.randn(1, 3, 12, 24, requires_grad=True)
    alignment = module.alignment(x, torch.randn(1, 3, 12, 24), (3, 4))
    y = alignment.align(x.detach()).square().sum()
    assert torch.autograd.grad(y, x)[0].abs().max() > 0


@pytest.mark.parametrize(
    'options',
    [
        dict(dealign=False),
        dict(route_encoding=True),
        dict(match_on='content'),
        ROUTES,
        dict(ROUTES, dealign=False, route_heads=None),
    ],
    ids=str,
)
def test_every_option_of_ata_works(matcher, options):
    module = ata(matcher, **options)
    x = torch.randn(2, 3, 12, 24, requires_grad=True)
    position = torch.randn(1, 3, 12, 24)
    y = module(x, position, (3, 4))
    y.square().sum().backward()
    assert y.shape == x.shape and torch.isfinite(x.grad).all()


@pytest.mark.parametrize('options', [{}, ROUTES], ids=str)
def test_alignment_under_autocast_equals_that_in_fp32(matcher, options):
    module, x = ata(matcher, **options), torch.randn(1, 3, 12, 24)
    expected = module.alignment(x, grid=(3, 4)).align(x)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        alignment = module.alignment(x, grid=(3, 4))
        assert torch.equal(alignment.align(x), expected)
        assert torch.isfinite(module(x, grid=(3, 4))).all()


def test_compiles(matcher):
    module, x = ata(matcher, **ROUTES), torch.randn(1, 3, 12, 24)
    compiled = torch.compile(module, backend='eager')
    torch.testing.assert_close(
        compiled(x, None, (3, 4)), module(x, None, (3, 4))
    )
    torch._dynamo.reset()
