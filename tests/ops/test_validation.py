# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
import torch

from ata_mm.ops import validation
from ata_mm.ops.validation import (
    check,
    check_counts,
    check_finite,
    check_grid,
    check_patches,
    check_square,
    check_tensor,
    is_count,
)


def test_a_failed_condition_raises_its_message():
    check(torch.tensor(True), 'unused')
    with pytest.raises(ValueError, match='Expected order'):
        check(torch.tensor(False), 'Expected order.')


def test_a_traced_condition_is_asserted_in_the_graph(monkeypatch):
    asserted = []
    monkeypatch.setattr(validation, 'is_compiling', lambda: True)
    monkeypatch.setattr(
        torch, '_assert_async', lambda *arguments: asserted.append(arguments)
    )
    condition = torch.tensor(False)
    check(condition, 'Expected order.')
    assert asserted == [(condition, 'Expected order.')]


def test_the_meta_device_has_no_value_to_check():
    check(torch.empty((), dtype=torch.bool, device='meta'), 'unused')


def test_values_on_a_gpu_are_not_checked(monkeypatch):
    fake_tensor = pytest.importorskip('torch._subclasses.fake_tensor')
    monkeypatch.setattr(torch, '_assert_async', None)
    with fake_tensor.FakeTensorMode():
        # A fake tensor of a GPU needs none.
        values = torch.empty(2, device='cuda')
        assert check_finite(values) is None
        assert check(values.all(), 'unused') is None


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_finite_values_are_required(value):
    check_finite(torch.zeros(2, 3))
    with pytest.raises(ValueError, match='finite.*diverged'):
        check_finite(torch.tensor([[0.0, value]]))


@pytest.mark.parametrize('shape', [(3, 4, 5), (1, 2, 3, 4, 5), (2, 3, 0, 5)])
def test_patches_have_four_dimensions_that_are_not_empty(shape):
    check_patches(torch.empty(2, 3, 4, 5))
    with pytest.raises(ValueError, match=r'\(B, T, N, C\) without empty'):
        check_patches(torch.empty(shape))


@pytest.mark.parametrize(
    'x', [torch.ones(2, 4), torch.ones(3), torch.ones(2, 3, 1)]
)
def test_a_tensor_has_its_shape(x):
    check_tensor(torch.ones(2, 3), 'scores', (2, 3))
    with pytest.raises(ValueError, match=r'scores of shape \(2, 3\), got'):
        check_tensor(x, 'scores', (2, 3))


def test_a_tensor_has_its_dtype():
    check_tensor(torch.ones(2).long(), 'index', (2,), torch.int64)
    with pytest.raises(ValueError, match='index .*int64, got .*float32'):
        check_tensor(torch.ones(2), 'index', (2,), torch.int64)


@pytest.mark.parametrize('shape', [(2, 4, 5), (4,)])
def test_similarities_are_square(shape):
    assert check_square(torch.empty(2, 3, 4, 4)) == 4
    with pytest.raises(ValueError, match=r'shape \(\.\.\., N, N\), got \('):
        check_square(torch.empty(shape))


@pytest.mark.parametrize(
    'grid',
    [
        None,
        (2, 2),
        6,
        '23',
        (6,),
        (2, 3, 1),
        (-2, -3),
        (2.0, 3.0),
        ('2', 3),
        (None, 3),
    ],
)
def test_a_grid_is_a_pair_of_integers_that_holds_all_patches(grid):
    with pytest.raises(ValueError, match='H x W = N = 6 patches, got grid='):
        check_grid(grid, 6)


@pytest.mark.parametrize('grid', [(2, 3), [2, 3], torch.ones(2, 3).shape])
def test_a_grid_of_all_patches_is_returned(grid):
    assert check_grid(grid, 6) is grid


class Flatten(torch.nn.Module):
    """Module that checks the grid of its input (H, W)."""

    def forward(self, x):
        check_grid((x.shape[0], x.shape[1]), x.shape[0] * x.shape[1])
        return x.flatten(0, 1)


@pytest.mark.filterwarnings('ignore::torch.jit.TracerWarning')
def test_a_grid_may_be_traced():
    traced = torch.jit.trace(Flatten(), torch.ones(2, 3))
    assert traced(torch.ones(4, 5)).shape == (20,)


@pytest.mark.parametrize('strict', [True, False])
def test_a_grid_may_be_symbolic(strict):
    sizes = {0: torch.export.Dim('height'), 1: torch.export.Dim('width')}
    exported = torch.export.export(
        Flatten(), (torch.ones(2, 3),), dynamic_shapes=[sizes], strict=strict
    )
    assert exported.module()(torch.ones(4, 5)).shape == (20,)


def test_a_missing_grid_names_the_caller():
    with pytest.raises(ValueError, match=r'which LocalMatcher\(\) needs'):
        check_grid(None, 6, 'LocalMatcher()')


@pytest.mark.parametrize(
    'value, expected',
    [(2, True), (np.int64(3), True), (1, False), (2.0, False), ('2', False)]
    + [(None, False), (True, False)],
)
def test_a_count_is_an_integer_of_at_least_a_number(value, expected):
    assert is_count(value, 2) is expected


@pytest.mark.parametrize('value', [None, '8', -1, 0, 2.0, True])
def test_counts_are_integers_of_at_least_one(value):
    check_counts(first=1, second=np.int64(12))
    with pytest.raises(ValueError, match='Expected second to be an integer'):
        check_counts(first=1, second=value)


def test_counts_may_have_another_least_number():
    check_counts(0, sweeps=0)
    with pytest.raises(ValueError, match='of at least 2, got 1'):
        check_counts(2, size=1)
