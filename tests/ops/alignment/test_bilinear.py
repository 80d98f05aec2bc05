# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
import torch.nn.functional as F

from ata_mm.ops.alignment.displacement import BilinearSampling

GRID = (4, 6)


def anywhere(num=24):
    """Places (3, N, 2) on the grid."""
    return torch.rand(3, num, 2) * (torch.tensor(GRID) - 1)


def test_reads_as_grid_sample():
    places, maps = anywhere(), torch.randn(3, 24, 5)
    scaled = 2 * places / (torch.tensor(GRID) - 1) - 1
    expected = F.grid_sample(
        maps.transpose(1, 2).unflatten(2, GRID),
        scaled.flip(-1)[:, None],
        align_corners=True)
    torch.testing.assert_close(
        BilinearSampling(places, GRID).read(maps), expected[:, :,
                                                            0].transpose(1, 2))


def test_writes_the_normalised_adjoint():
    sampling = BilinearSampling(anywhere(), GRID)
    maps, values = torch.randn(2, 3, 24, 5)
    eye = torch.eye(24).expand(3, -1, -1)
    matrix = sampling.read(eye)  # (P, places, patches)
    cover = matrix.sum(1, keepdim=True).clamp_min(0.1)
    torch.testing.assert_close(sampling.read(maps), matrix @ maps)
    torch.testing.assert_close(
        sampling.write(values), (matrix / cover).transpose(1, 2) @ values)


def test_a_constant_stays_one():
    rows, columns = (torch.arange(float(side)) for side in GRID)
    places = torch.cartesian_prod(rows, columns) * 0.9 + 0.1
    ones = torch.ones(1, 24, 1)
    sampling = BilinearSampling(places[None], GRID)
    torch.testing.assert_close(sampling.read(ones), ones)
    torch.testing.assert_close(sampling.write(ones), ones)


@pytest.mark.parametrize('grid', [(1, 1), (1, 5), (4, 6)])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_exact_to_the_bit_at_patches(grid, dtype):
    rows, columns = (torch.arange(float(side)) for side in grid)
    places = torch.cartesian_prod(rows, columns).expand(2, -1, -1)
    maps = torch.randn(2, grid[0] * grid[1], 3).to(dtype)
    sampling = BilinearSampling(places, grid)
    assert torch.equal(sampling.read(maps), maps)
    assert torch.equal(sampling.write(maps), maps)


@pytest.mark.parametrize('verb', ['read', 'write'])
def test_gradients(verb):
    places = anywhere().double().requires_grad_()
    values = torch.randn(3, 24, 2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda p, v: getattr(BilinearSampling(p, GRID), verb)(v),
        (places, values))
