# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""What only a GPU can show: `pytest -k cuda` is what to run first on one."""

import pytest
import torch

from ata_mm.models import ATA, ATATimeSformer
from ata_mm.ops import ExactMatcher, align_frames

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason='needs a GPU'
)

DEVICE = 'cuda'
GRID = (14, 14)
MATCHERS = [
    'ExactMatcher',
    'LocalMatcher',
    'DisplacementMatcher',
    'CoarseToFineMatcher',
    'SinkhornMatcher',
]
OPTIONS = [
    dict(reference='first', min_similarity=0.4),
    dict(reference='first-or-previous', min_similarity=0.4),
    dict(reference=2, support_radius=1),
    dict(refine=1),
    dict(route_heads=2, route_encoding=True),
    dict(dealign=False),
    dict(time_bias_slopes=[1.0], num_frames=4),
]
VARIANTS = [
    *(dict(matcher=matcher) for matcher in MATCHERS),
    *OPTIONS,
    dict(matcher='LocalMatcher', min_similarity=0.4, support_radius=1),
]


def moving_features(grid=GRID, device=DEVICE):
    """Features (2, 4, N, 64) of which half follows from the frame before."""
    x = torch.randn(2, 4, grid[0] * grid[1], 64)
    x[:, 1:] += x[:, :-1].roll(1, dims=2)
    return x.to(device)


def build(**options):
    return ATA(64, 4, 0.1, zero_init=False, **options).to(DEVICE)


def train_step(module, x, grid=GRID):
    with torch.autocast(DEVICE, torch.bfloat16):
        y = module(x, grid=grid)
    y.float().square().sum().backward()
    return y


def similarity(alignment, x):
    return alignment.similarity(x.to(alignment.routes.device)).sum().item()


@pytest.fixture
def errors_of_synchronisation():
    """Return a context in which every host synchronisation raises."""
    yield lambda: torch.cuda.set_sync_debug_mode('error')
    torch.cuda.set_sync_debug_mode('default')


def assert_no_synchronisation(start, module, grid):
    x = moving_features(grid).requires_grad_()
    train_step(module, x, grid)  # compiles the kernels
    torch.cuda.synchronize()
    start()
    train_step(module, x, grid)


@pytest.mark.parametrize('options', VARIANTS, ids=str)
def test_a_step_does_not_synchronise(options, errors_of_synchronisation):
    assert_no_synchronisation(
        errors_of_synchronisation, build(**options), GRID
    )


@pytest.mark.parametrize(
    'matcher', ['DisplacementMatcher', 'CoarseToFineMatcher']
)
def test_large_maps_do_not_synchronise(matcher, errors_of_synchronisation):
    assert_no_synchronisation(
        errors_of_synchronisation, build(matcher=matcher), (36, 36)
    )


@pytest.mark.parametrize(
    'options', [dict(), *OPTIONS, dict(matcher='LocalMatcher')], ids=str
)
@torch.no_grad()
def test_a_graph_replays_on_other_features(options):
    module = build(**options).eval()
    x = moving_features()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        module(x, grid=GRID)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = module(x, grid=GRID)
    x.copy_(moving_features())
    graph.replay()
    torch.testing.assert_close(y, module(x, grid=GRID), atol=1e-5, rtol=1e-5)


def test_compiles_without_a_graph_break():
    module = build().eval()
    compiled = torch.compile(module, backend='aot_eager', fullgraph=True)
    x = moving_features()
    torch.testing.assert_close(compiled(x, grid=GRID), module(x, grid=GRID))


@pytest.mark.parametrize('num', [2, 31, 196, 576, 1024])
def test_matches_as_well_as_the_cpu(num):
    x = moving_features((num, 1))
    found = align_frames(x, ExactMatcher())
    best = align_frames(x.cpu(), ExactMatcher())
    assert similarity(found, x) == pytest.approx(similarity(best, x), rel=1e-5)


@pytest.mark.parametrize('options', [dict(), dict(reference='first')], ids=str)
def test_output_and_gradient_are_those_of_the_cpu(options):
    module, x = build(**options).eval(), moving_features((7, 7))
    results = []
    for device in (DEVICE, 'cpu'):
        module, inputs = module.to(device), x.to(device).requires_grad_()
        y = module(inputs, grid=(7, 7))
        (gradient,) = torch.autograd.grad(y.square().sum(), inputs)
        results.append((y.cpu(), gradient.cpu()))
    for found, expected in zip(*results):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('layout', ['n t', 't n'])
def test_features_are_read_where_they_lie(dtype, layout):
    tokens = torch.randn(2, 1 + 4 * 49, 64, device=DEVICE, dtype=dtype)
    if layout == 'n t':
        x = tokens[:, 1:].unflatten(1, (49, 4)).transpose(1, 2)
    else:
        x = tokens[:, 1:].unflatten(1, (4, 49))
    alignment = align_frames(x, ExactMatcher())
    copied = align_frames(x.clone(memory_format=torch.contiguous_format))
    assert torch.equal(alignment.routes, copied.routes)
    along = alignment.align(x)
    expected = x.gather(2, alignment.routes[..., None].expand(x.shape))
    assert torch.equal(along, expected)
    assert torch.equal(alignment.dealign(along), x)


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_what_is_not_finite_ends_in_the_loss(value):
    x = moving_features()
    x[0, 2, 5, 3] = value
    y = build().eval()(x, grid=GRID)
    torch.cuda.synchronize()  # a failed assertion would raise
    assert not y[0].isfinite().all() and y[1].isfinite().all()


@pytest.mark.parametrize('patch', [0, -1, 2**40])
def test_a_matcher_of_no_permutations_gives_nan(patch):
    x = moving_features()
    alignment = align_frames(
        x, lambda similarity: torch.full_like(similarity[..., 0], patch).long()
    )
    y = alignment.dealign(alignment.align(x))
    torch.cuda.synchronize()
    assert torch.equal(y[:, 0], x[:, 0]) and y[:, 1:].isnan().any()


def test_another_stream_waits_for_the_features():
    x = moving_features()
    expected = align_frames(x, ExactMatcher()).routes
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(10**8)
        later = x * 2  # a power of 2 changes no cosine
        routes = align_frames(later, ExactMatcher()).routes
    torch.cuda.current_stream().wait_stream(stream)
    assert torch.equal(routes, expected)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason='needs two GPUs')
@pytest.mark.parametrize('matcher', MATCHERS)
def test_works_on_a_gpu_that_is_not_the_current_one(matcher):
    module = build(matcher=matcher).eval()
    x = moving_features()
    expected = module(x, grid=GRID)
    elsewhere = module.to('cuda:1')(x.to('cuda:1'), grid=GRID)
    torch.testing.assert_close(elsewhere.to(DEVICE), expected)


@pytest.mark.parametrize(
    'share, with_cp', [(1, False), (1, True), ('stage', True)]
)
def test_a_backbone_trains_in_bf16(share, with_cp):
    backbone = ATATimeSformer(
        4,
        img_size=64,
        embed_dims=64,
        num_heads=4,
        num_layers=2,
        with_cp=with_cp,
        temporal=dict(type='ATA', share_alignment=share, zero_init=False),
    ).to(DEVICE)
    with torch.autocast(DEVICE, torch.bfloat16):
        y = backbone(torch.randn(2, 3, 4, 64, 64, device=DEVICE))
    y.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in backbone.parameters())


@pytest.mark.parametrize('options', [dict(), dict(min_similarity=0.4)])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_more_sequences_than_a_launch_has_blocks(options, dtype):
    module = ATA(16, 2, zero_init=False, **options).to(DEVICE)
    x = torch.randn(1024, 2, 65, 16, device=DEVICE, requires_grad=True)
    with torch.autocast(DEVICE, dtype, enabled=dtype != torch.float32):
        y = module(x)
    y.float().square().sum().backward()
    assert y.isfinite().all() and x.grad.isfinite().all()
