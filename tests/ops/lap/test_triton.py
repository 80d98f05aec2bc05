# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""On a GPU if there is one, else by triton's interpreter, see conftest."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ata_mm.ops import (
    CoarseToFineMatcher,
    ExactMatcher,
    LocalMatcher,
    align_frames,
    lap,
    neighbour_similarity,
    norms,
    validation,
)

triton = pytest.importorskip('triton')
kernels = pytest.importorskip('ata_mm.ops.lap.triton')
DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
LOCAL = LocalMatcher(radius=1)
LOCAL._exact = ExactMatcher('triton')  # as on a GPU

COMPILE = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
from subprocess import check_output
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

spec = spec_from_file_location('kernel', sys.argv[1])  # without ata_mm
module = module_from_spec(spec)
spec.loader.exec_module(module)

def compile_for_h100(function, num_warps, pointers, **constants):
    signature = {**pointers, **dict.fromkeys(constants, 'constexpr')}
    aligned = {(i, ): [['tt.divisibility', 16]] for i in range(len(pointers))}
    kernel = compile(
        ASTSource(function, signature, constants, aligned),
        target=GPUTarget('cuda', 90, 32),
        options=dict(num_warps=num_warps))
    with open('kernel.cubin', 'wb') as file:
        file.write(kernel.asm['cubin'])
    print(check_output([knobs.nvidia.cuobjdump.path, '-res-usage',
                        'kernel.cubin'], text=True))

state = dict(costs='*i32', prices='*i32', owners='*i32', matching='*i64')
for num in (196, 1024):
    size = 1 << (num - 1).bit_length()
    compile_for_h100(module._prepare, 8, dict(similarity='*fp32', **state),
                     N=num, STRIDE=num, COLUMNS=size, ROWS=8192 // size)
    compile_for_h100(module._solve, module.num_warps(num), state, steps=None,
                     N=num, STRIDE=num, BITS=(num - 1).bit_length(),
                     GROUPS=module.GROUPS, LENGTH=size // module.GROUPS,
                     PASSES=module.PASSES)
"""


def solve(similarity):
    return ExactMatcher('triton')(similarity.to(DEVICE)).cpu()


def total(similarity, matching):
    return similarity.double().gather(-1, matching[..., None]).sum((-2, -1))


def assert_optimal(similarity, bound=2**-26):
    """Compare the totals with scipy's, up to the documented truncation."""
    found = total(similarity, solve(similarity))
    best = total(similarity, ExactMatcher('scipy')(similarity))
    atol = similarity.shape[-1] * bound * float(similarity.abs().max())
    torch.testing.assert_close(found, best, rtol=0, atol=atol)


def similar_frames(num_problems, num):
    x = torch.randn(num_problems, 1, num, 8)
    return neighbour_similarity(
        torch.cat([x, x + 0.5 * torch.randn(x.shape)], 1)
    ).flatten(0, 1)


@pytest.mark.parametrize('num', [1, 2, 3, 8, 17])
def test_reaches_the_optimum_of_scipy(num):
    assert_optimal(torch.rand(2, num, num) * 2 - 1)


@pytest.mark.parametrize('passes', [0, 8])
@pytest.mark.parametrize('groups', [1, 2, 4])
def test_reaches_it_if_a_search_closes_whole_groups(
    monkeypatch, groups, passes
):
    monkeypatch.setattr(kernels, 'GROUPS', groups)
    monkeypatch.setattr(kernels, 'PASSES', passes)
    # Without columns beyond N, no column of a closed group is left.
    monkeypatch.setattr(kernels, 'MIN_LENGTH', 1)
    rank = torch.arange(16.0)  # products: searches visit most columns
    assert_optimal((rank[:, None] * rank)[None])
    assert_optimal(-(rank[:, None] * rank)[None])


@pytest.mark.skipif(DEVICE == 'cpu', reason='needs a GPU')
@pytest.mark.parametrize('num', [49, 196, 256, 576, 784, 1024])
def test_reaches_it_with_the_patches_of_a_model_cuda(num):
    assert_optimal(torch.rand(2, num, num) * 2 - 1)
    assert_optimal(torch.randint(0, 3, (2, num, num)).float())
    assert_optimal(similar_frames(2, num))


def test_reaches_it_on_similar_frames():
    assert_optimal(similar_frames(2, 24))


def test_reaches_it_with_many_equal_similarities():
    assert_optimal(torch.randint(0, 3, (2, 16, 16)).float())


def test_distinguishes_similarities_by_their_last_bits():
    """Sums are exact down to 1/16 of the largest similarity."""
    bits = torch.randint(0, 9, (2, 12, 12))
    small = -(2.0**-5) - 2.0**-28 * bits
    large = 0.5 + 2.0**-24 * bits
    assert_optimal(torch.where(torch.rand(2, 12, 12) < 0.1, large, small), 0)


@pytest.mark.parametrize('features', [torch.randn, torch.ones])
def test_identical_frames_keep_their_order(features):
    x = features(1, 1, 20, 4).expand(1, 2, 20, 4)
    assert solve(neighbour_similarity(x)).flatten().tolist() == [*range(20)]


def test_scales_of_a_batch_are_independent():
    similarity = (
        torch.randn(1, 12, 12)
        * 2.0 ** torch.tensor([0, 90, -90])[:, None, None]
    )
    one = solve(similarity[0])
    assert torch.equal(solve(similarity), one.expand(3, -1))


@pytest.mark.parametrize('shape', [(0, 4, 4), (2, 0, 4, 4), (2, 3, 4, 4)])
def test_leading_dimensions_are_kept(shape):
    assert solve(torch.rand(shape)).shape == shape[:-1]


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
@pytest.mark.parametrize('place', [(0, 2, 3), (0, 2), (0,)])
def test_what_is_not_finite_gets_the_identity(value, place):
    similarity = torch.randn(2, 9, 9)
    finite = solve(similarity)[1].tolist()
    similarity[place] = value
    assert solve(similarity).tolist() == [[*range(9)], finite]


def count_steps(similarity):
    """Return the steps of all problems: row reduction's, the searches'."""
    steps = torch.full(
        (len(similarity), 2), -1, dtype=torch.int32, device=DEVICE
    )
    kernels.solve_triton(similarity.to(DEVICE), steps)
    return steps.sum(0).tolist()


def test_identical_frames_take_no_step():
    x = torch.randn(1, 1, 20, 4).expand(1, 2, 20, 4)
    assert count_steps(neighbour_similarity(x)[0]) == [0, 0]


@pytest.mark.parametrize('option, without', [('GROUPS', 1), ('PASSES', 0)])
def test_searches_take_fewer_steps(monkeypatch, option, without):
    x = torch.randn(1, 2, 32, 3)  # of few features: many paths to search
    similarity = neighbour_similarity(x)[0]
    _, steps = count_steps(similarity)
    monkeypatch.setattr(kernels, option, without)
    assert 0 < steps < 0.75 * count_steps(similarity)[1]


@pytest.mark.parametrize('matcher', [ExactMatcher('triton'), LOCAL])
def test_alignment_compiles_to_one_graph(matcher):

    def align(x):
        alignment = align_frames(x, matcher, (2, 3))
        return alignment.routes, alignment.align(x)

    x = torch.randn(1, 3, 6, 4, device=DEVICE)
    compiled = torch.compile(align, fullgraph=True, backend='aot_eager')
    routes, aligned = compiled(x)
    assert torch.equal(routes, align(x)[0])
    assert torch.equal(aligned, align(x)[1])


@pytest.mark.parametrize(
    'matcher', [ExactMatcher('triton'), LOCAL, CoarseToFineMatcher()]
)
def test_host_reads_no_value(matcher, monkeypatch):
    """Match tensors without values, which raise if one is read."""
    fake_tensor = pytest.importorskip('torch._subclasses.fake_tensor')
    monkeypatch.setattr(validation, 'is_compiling', lambda: True)
    monkeypatch.setattr(norms, 'is_tracing', lambda: True)
    matcher._exact = ExactMatcher('triton')
    with fake_tensor.FakeTensorMode():
        x = torch.empty(2, 3, 784, 4)
        routes = align_frames(x, matcher, (28, 28)).routes
    assert routes.shape == (2, 3, 784)


def test_refuses_more_patches_than_fit():
    with pytest.raises(ValueError, match='at most 1024 .* N = 1025'):
        solve(torch.rand(1, 1025, 1025))


def test_refuses_the_cpu_without_interpreter(monkeypatch):
    kernel = triton.JITFunction(kernels.num_warps)
    monkeypatch.setattr(kernels, '_solve', kernel)
    with pytest.raises(ValueError, match='on a GPU, got them on cpu'):
        kernels.solve_triton(torch.rand(1, 4, 4))


@pytest.mark.skipif(
    not hasattr(triton, 'knobs')  # before 3.4
    or not os.path.isfile(
        Path(triton.__file__).parent / 'backends/nvidia/bin/cuobjdump'
    ),
    reason="triton without CUDA's tools, or without their paths",
)
def test_compiles_for_an_h100_within_its_registers(tmp_path):
    source = Path(lap.__file__).with_name('triton.py')
    env = dict(
        os.environ,
        TRITON_INTERPRET='0',
        TRITON_CACHE_DIR=str(tmp_path),
    )
    done = subprocess.run(
        [sys.executable, '-c', COMPILE, str(source)],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('STACK:0') == done.stdout.count('LOCAL:0') == 4
