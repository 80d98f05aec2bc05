# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""On a GPU if there is one, else by triton's interpreter, see conftest."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ata_mm.ops import (
    CoarseToFineMatcher,
    ExactMatcher,
    LocalMatcher,
    align_frames,
    lap,
    neighbour_similarity,
    validation,
)

triton = pytest.importorskip('triton')
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

for num in (196, 1024):
    signature = dict(similarity='*fp32', scale='*fp32', matching='*i64',
                     N='constexpr', BITS='constexpr')
    constants = dict(N=num, BITS=(num - 1).bit_length())
    aligned = {(i, ): [['tt.divisibility', 16]] for i in range(3)}
    kernel = compile(
        ASTSource(module._solve, signature, constants, aligned),
        target=GPUTarget('cuda', 90, 32),
        options=dict(num_warps=module.num_warps(num)))
    with open('kernel.cubin', 'wb') as file:
        file.write(kernel.asm['cubin'])
    print(check_output([knobs.nvidia.cuobjdump.path, '-res-usage',
                        'kernel.cubin'], text=True))
"""


def solve(similarity):
    return ExactMatcher('triton')(similarity.to(DEVICE)).cpu()


def total(similarity, matching):
    return similarity.double().gather(-1, matching[..., None]).sum((-2, -1))


def assert_optimal(similarity):
    """Compare the totals with scipy's, up to the documented truncation."""
    found = total(similarity, solve(similarity))
    best = total(similarity, ExactMatcher('scipy')(similarity))
    bound = similarity.shape[-1] * 2**-28 * float(similarity.abs().max())
    torch.testing.assert_close(found, best, rtol=0, atol=bound)


@pytest.mark.parametrize('num', [1, 2, 3, 8, 17])
def test_reaches_the_optimum_of_scipy(num):
    assert_optimal(torch.rand(2, num, num) * 2 - 1)


def test_reaches_it_on_similar_frames():
    x = torch.randn(1, 1, 24, 8) + 0.5 * torch.randn(1, 2, 24, 8)
    assert_optimal(neighbour_similarity(x))


def test_reaches_it_with_many_equal_similarities():
    assert_optimal(torch.randint(0, 3, (2, 16, 16)).float())


def test_distinguishes_similarities_by_their_last_bits():
    assert_optimal(0.5 + 2.0**-24 * torch.randint(0, 99, (2, 16, 16)))


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


@pytest.mark.skipif(DEVICE == 'cuda', reason='asserted on the device')
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_refuses_what_is_not_finite(value):
    similarity = torch.rand(2, 4, 4)
    similarity[1, 2, 3] = value
    with pytest.raises(ValueError, match='finite'):
        solve(similarity)


@pytest.mark.filterwarnings('ignore:invalid value')
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_ends_with_a_permutation_for_any_input(value):
    similarity = torch.randn(2, 9, 9, device=DEVICE)
    similarity[0, 2] = value
    similarity[1] = -value
    matching = torch.ops.ata_mm.solve_lap(similarity).cpu()
    assert (matching.sort(-1).values == torch.arange(9)).all()


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
    monkeypatch.setattr(
        torch, 'randint', lambda *args, generator: np.array([3, 5])
    )
    matcher._exact = ExactMatcher('triton')
    with fake_tensor.FakeTensorMode():
        x = torch.empty(2, 3, 784, 4)
        routes = align_frames(x, matcher, (28, 28)).routes
    assert routes.shape == (2, 3, 784)


def test_refuses_more_patches_than_fit():
    with pytest.raises(ValueError, match='at most 1024 .* N = 1025'):
        solve(torch.rand(1, 1025, 1025))


def test_refuses_the_cpu_without_interpreter(monkeypatch):
    from ata_mm.ops.lap import triton as triton_lap

    kernel = triton.JITFunction(triton_lap.num_warps)
    monkeypatch.setattr(triton_lap, '_solve', kernel)
    with pytest.raises(ValueError, match='on a GPU, got them on cpu'):
        triton_lap.solve_triton(torch.rand(1, 4, 4))


@pytest.mark.skipif(
    not os.path.isfile(
        Path(triton.__file__).parent / 'backends/nvidia/bin/cuobjdump'
    ),
    reason="triton without CUDA's tools",
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
    assert done.stdout.count('STACK:0') == done.stdout.count('LOCAL:0') == 2
