# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""On a GPU if there is one, else by triton's interpreter, see conftest."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ata_mm.ops import ExactMatcher, align_frames, kernels
from ata_mm.ops.kernels import operators

triton = pytest.importorskip('triton')
DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
REFERENCES = ['previous', 'first', 2]

COMPILE = """
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from subprocess import check_output
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile


def load(name):  # without ata_mm
    spec = spec_from_file_location(name, f'{sys.argv[1]}/{name}.py')
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compile_for(capability, kernel, pointers, constants, num_warps):
    # All other arguments are integers, strides of multiples of 16 channels.
    signature = {arg: pointers.get(arg, 'i32') for arg in kernel.arg_names}
    signature.update(dict.fromkeys(constants, 'constexpr'))
    aligned = {(kernel.arg_names.index(arg), ): [['tt.divisibility', 16]]
               for arg in kernel.arg_names
               if (arg in pointers or '_' in arg) and arg not in constants}
    return compile(
        ASTSource(kernel, signature, constants, aligned),
        target=GPUTarget('cuda', capability, 32),
        options=dict(num_warps=num_warps))


def compile_cosine(capability, num, depth, parts):
    tile = cosine.tile_size(num)
    return compile_for(
        capability, cosine._cosine,
        dict(source='*fp16', target='*fp16', source_scales='*fp32',
             target_scales='*fp32', similarity='*fp32'),
        dict(WIDTH=768, PARTS=parts, TILE=tile, DEPTH=depth), tile // 16)


cosine, permutation = load('similarity'), load('permutation')
"""

REGISTERS = """
def report(name, compiled):
    with open('kernel.cubin', 'wb') as file:
        file.write(compiled.asm['cubin'])
    usage = check_output([knobs.nvidia.cuobjdump.path, '-res-usage',
                          'kernel.cubin'], text=True)
    print(name, *re.findall('(?:REG|STACK|SHARED|LOCAL):[0-9]+', usage))


for dtype, parts in (('fp32', 2), ('bf16', 1)):
    report(f'split {dtype}', compile_for(
        90, cosine._split,
        dict(x=f'*{dtype}', parts='*fp16', scales='*fp32'),
        dict(stride_c=1, CHANNELS=768, WIDTH=768, PARTS=parts,
             ROWS=cosine.ELEMENTS // 1024, COLUMNS=1024), 4))
    for num in (49, 196):
        compiled = compile_cosine(90, num, cosine.DEPTH, parts)
        report(f'cosine {num} {parts}', compiled)
for num in (256, 4096):
    warps = permutation.num_warps(num)
    report(f'chain {num}', compile_for(
        90, permutation._chain,
        dict(matching='*i64', routes='*i64', inverse='*i64'),
        dict(PAIRS=7, FOLLOW=True, BLOCK=num), warps))
    report(f'invert {num}', compile_for(
        90, permutation._invert,
        dict(permutation='*i64', inverse='*i64'), dict(BLOCK=num), warps))
for dtype in ('fp32', 'bf16', 'i64'):
    report(f'take {dtype}', compile_for(
        90, permutation._take,
        dict(x=f'*{dtype}', index='*i64', y=f'*{dtype}'),
        dict(stride_c=1, ROWS=permutation.ROWS, COLUMNS=permutation.COLUMNS),
        4))
"""

# Bytes of shared memory of a block, by compute capability.
SHARED = """
for capability, most in {80: 166912, 86: 101376, 90: 232448, 100: 232448,
                         120: 101376}.items():
    depth = cosine.DEPTH if capability == 90 else cosine.DEPTH // 2
    for num in (49, 196):
        shared = compile_cosine(capability, num, depth, 2).metadata.shared
        print(capability, num, shared, 'fits' if shared <= most else most)
"""


def moving_features():
    x = torch.randn(2, 4, 12, 8)
    x[:, 1:] += x[:, :-1].roll(1, dims=2)
    return x.to(DEVICE)


def loss_and_gradient(x, reference):
    """Return the sum along routes, the routes, and the gradient."""
    x = x.clone().requires_grad_()
    alignment = align_frames(x, ExactMatcher(), reference=reference)
    along = alignment.align(x).cumsum(1)
    y = alignment.dealign(along)
    y.square().sum().backward()
    return y.detach(), alignment.routes, x.grad


@pytest.fixture
def with_kernels(monkeypatch):
    """Replace the torch code by the kernels, on the CPU too."""
    return lambda: monkeypatch.setattr(kernels, 'use_kernels', lambda x: True)


@pytest.mark.parametrize('reference', REFERENCES)
def test_an_alignment_is_that_of_the_torch_code(reference, with_kernels):
    x = moving_features().cpu()
    expected = loss_and_gradient(x, reference)
    with_kernels()
    found = loss_and_gradient(x.to(DEVICE), reference)
    for part, other in zip(found, expected):
        torch.testing.assert_close(part.cpu(), other)


@pytest.mark.parametrize('reference', REFERENCES)
def test_an_alignment_compiles_to_one_graph(reference, with_kernels):
    with_kernels()
    matcher = ExactMatcher('triton')

    def step(x):
        alignment = align_frames(x, matcher, reference=reference)
        return alignment.dealign(alignment.align(x).cumsum(1))

    compiled = torch.compile(step, fullgraph=True, backend='aot_eager')
    features = moving_features()
    gradients = []
    for function in (step, compiled):
        x = features.clone().requires_grad_()
        function(x).square().sum().backward()
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients)


def match_nothing(similarity):
    return torch.full_like(similarity[..., 0], 2**40).long()


WITH_GATHERS = [
    dict(),
    dict(reference='first'),
    dict(reference=2),
    dict(refine=1),
    dict(reference='first-or-previous', min_similarity=0.4),
]


@pytest.mark.parametrize('options', WITH_GATHERS, ids=str)
def test_a_matcher_of_no_permutations_gives_nan(options, with_kernels):
    with_kernels()
    x = moving_features()
    alignment = align_frames(x, match_nothing, **options)
    y = alignment.dealign(alignment.align(x))
    assert y[:, 0].isfinite().all() and y[:, 1:].isnan().any()


@pytest.mark.skipif(DEVICE == 'cuda', reason='not checked on a GPU')
@pytest.mark.parametrize('options', WITH_GATHERS, ids=str)
def test_a_matcher_of_no_permutations_is_refused_on_the_cpu(options):
    with pytest.raises(ValueError, match='Expected permutations'):
        align_frames(moving_features(), match_nothing, **options)


def operands(name):
    x, matching = moving_features(), torch.rand(2, 3, 12).argsort(-1)
    routes = torch.rand(2, 4, 12).argsort(-1).to(DEVICE)
    return dict(
        pairwise_cosine=(x[:, :1], x[:, 1:]),
        chain_matching=(matching.to(DEVICE), True),
        invert_permutation=(routes,),
        take_patches=(x, routes),
    )[name]


@pytest.mark.parametrize(
    'name',
    [
        'pairwise_cosine',
        'chain_matching',
        'invert_permutation',
        'take_patches',
    ],
)
def test_the_operators_are_declared_correctly(name):
    operator = getattr(torch.ops.ata_mm, name).default
    torch.library.opcheck(operator, operands(name))


def test_the_cpu_runs_the_torch_code():
    assert not operators.use_kernels(torch.ones(1))


needs_ptxas = pytest.mark.skipif(
    not hasattr(triton, 'knobs')  # before 3.4
    or not os.path.isfile(
        Path(triton.__file__).parent / 'backends/nvidia/bin/cuobjdump'
    ),
    reason="triton without CUDA's tools, or without their paths",
)


def run_compiler(script, folder):
    """Run a script after COMPILE without the interpreter."""
    done = subprocess.run(
        [
            sys.executable,
            '-c',
            COMPILE + script,
            str(Path(kernels.__file__).parent),
        ],
        cwd=folder,
        env={
            **os.environ,
            'TRITON_INTERPRET': '0',
            'TRITON_CACHE_DIR': str(folder),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_ptxas
def test_compile_for_an_h100_within_its_registers(tmp_path):
    output = run_compiler(REGISTERS, tmp_path)
    assert output.count('STACK:0') == output.count('LOCAL:0') == 13


@needs_ptxas
def test_fit_into_the_shared_memory_of_every_gpu(tmp_path):
    output = run_compiler(SHARED, tmp_path)
    assert output.count('fits') == 10, output
