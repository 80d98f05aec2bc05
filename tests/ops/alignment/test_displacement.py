# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
import torch.nn.functional as F

from ata_mm.ops import Alignment, DisplacementAlignment
from ata_mm.ops.alignment.displacement import (
    BilinearSampling,
    accept,
    chain_displacements,
)

GRID = (6, 8)


def patch_positions(grid=GRID):
    """Return the rows and columns of all patches, (N, 2)."""
    return torch.cartesian_prod(*(torch.arange(float(side)) for side in grid))


def random_positions(dtype=torch.float32):
    """Return positions on the grid, (3, N, 2)."""
    return torch.rand(3, 48, 2, dtype=dtype) * (torch.tensor(GRID) - 1)


def moved(*steps, grid=GRID):
    """Return the alignment of a clip that moves by (rows, columns) a frame."""
    steps = torch.tensor(steps).view(1, -1, 1, 2)
    displacement = steps.expand(-1, -1, grid[0] * grid[1], -1)
    return DisplacementAlignment(chain_displacements(displacement, grid), grid)


def inside(x, grid=GRID, border=2):
    """Remove the border, where positions are clamped to the grid."""
    x = x.unflatten(2, grid)
    return x[:, :, border:-border, border:-border]


def test_no_displacement_is_exactly_the_identity():
    alignment = moved([0.0, 0.0], [0.0, 0.0])
    x = torch.randn(1, 3, 48, 5)
    assert torch.equal(alignment.align(x), x)
    assert torch.equal(alignment.dealign(x), x)
    assert torch.equal(alignment.routes, torch.arange(48).expand(1, 3, 48))


def test_displacements_of_whole_patches_select_patches():
    x = torch.randn(1, 2, 48, 5)
    y = moved([1.0, -1.0]).align(x).unflatten(2, GRID)
    assert torch.equal(y[:, 1, :-1, 1:], x.unflatten(2, GRID)[:, 1, 1:, :-1])


def test_steps_add_up_along_the_route():
    positions = moved([0.5, 0.0], [0.25, 1.0]).positions.unflatten(2, GRID)
    assert positions[0, :, 1, 1].tolist() == [[1, 1], [1.5, 1], [1.75, 2]]


def test_a_step_is_read_at_the_position_of_the_route():
    # Columns move by their number in the second pair.
    displacement = torch.zeros(1, 2, 8, 2)
    displacement[:, 0, :, 1] = 0.5
    displacement[:, 1, :, 1] = torch.arange(8.0) / 8
    positions = chain_displacements(displacement, (1, 8))
    torch.testing.assert_close(
        positions[0, 2, 2, 1], torch.tensor(2.5 + 2.5 / 8)
    )


def test_positions_are_clamped_to_the_grid():
    positions = moved([-9.0, 2.5]).positions[0, 1]
    assert positions.amin(0).tolist() == [0, 2.5]
    assert positions.amax(0).tolist() == [0, 7]


@pytest.mark.parametrize('verb', ['align', 'dealign'])
def test_given_positions_are_clamped_to_the_grid(verb):
    positions = (torch.rand(1, 2, 48, 2) * 3 - 1) * torch.tensor(GRID)
    last = torch.tensor(GRID) - 1.0
    clamped = positions.clamp(torch.zeros(2), last)
    alignment, expected = (
        DisplacementAlignment(p, GRID) for p in (positions, clamped)
    )
    x = torch.randn(1, 2, 48, 5)
    assert torch.equal(getattr(alignment, verb)(x), getattr(expected, verb)(x))
    assert torch.equal(alignment.places, expected.places)


@pytest.mark.parametrize(
    'step, wave, lost',
    [
        ([0.5, 0.0], None, 0.61),
        ([0.5, 0.5], None, 0.80),
        ([0.0, 0.5], 8, 0.15),
        ([0.0, 0.5], 16, 0.04),
        ([1.0, -1.0], None, 0.0),
    ],
)
def test_the_round_trip_loses_the_documented_share(step, wave, lost):
    grid = (40, 64)
    x = torch.randn(1, 2, 40 * 64, 8)
    if wave is not None:
        phase = 2 * torch.pi * torch.arange(64.0) / wave
        x = phase.sin().repeat(40).view(1, 1, -1, 1).expand(-1, 2, -1, -1)
    alignment = moved(step, grid=grid)
    rest = x - alignment.dealign(alignment.align(x))
    rest, x = (inside(a, grid)[:, 1].norm() for a in (rest, x))
    torch.testing.assert_close(rest / x, torch.tensor(lost), atol=0.02, rtol=0)


def test_patches_without_a_route_become_zero():
    y = moved([0.0, 4.0]).dealign(torch.ones(1, 2, 48, 1)).unflatten(2, GRID)
    assert (y[0, 1, :, :4] == 0).all() and (y[0, 1, :, 4:] == 1).all()


@pytest.mark.parametrize('grid', [(6, 8), (33, 35)])
def test_routes_are_the_nearest_permutations(grid):
    routes = moved([0.3, -0.4], grid=grid).routes
    order = torch.arange(grid[0] * grid[1])
    assert torch.equal(routes, order.expand(1, 2, -1))


@pytest.mark.parametrize('step', [(0.0, 1.0), (-1.0, 0.0), (2.0, -1.0)])
def test_a_route_alone_at_a_patch_goes_there(step):
    """Routes that leave the grid push no row of patches away."""
    alignment = moved(list(step))
    routes, places = (a[0, 1] for a in (alignment.routes, alignment.places))
    alone = places.bincount(minlength=48)[places] == 1
    assert alone.sum() >= 18
    assert torch.equal(routes[alone], places[alone])


@pytest.mark.parametrize('step', [(0, 1), (0, -1), (-1, 1), (2, 2), (-1, 0)])
def test_routes_of_content_that_stays_are_where_it_is(step):
    routes = moved([float(side) for side in step]).routes[0, 1]
    true = patch_positions() + torch.tensor(step)
    stays = ((true >= 0) & (true < torch.tensor(GRID))).all(-1)
    index = (true[:, 0] * GRID[1] + true[:, 1]).long()
    assert torch.equal(routes[stays], index[stays])


def test_displacement_is_the_length_of_the_steps():
    steps = moved([3.0, -4.0], [0.0, 0.25]).displacement(GRID)
    assert steps.shape == (1, 2, 48)
    steps = steps.unflatten(2, GRID)[0, :, :3, 4:]  # they do not leave
    assert torch.equal(steps[0], torch.full((3, 4), 5.0))
    assert torch.equal(steps[1], torch.full((3, 4), 0.25))


def test_displacement_refuses_another_grid():
    with pytest.raises(ValueError, match=r'N = 48 patches, got grid=\(2, 2\)'):
        moved([0.0, 1.0]).displacement((2, 2))


def test_places_are_the_nearest_patches():
    places = moved([0.6, -0.4]).places.unflatten(2, GRID)
    assert places.dtype == torch.int64
    assert places[0, 1, 2, 3] == 3 * 8 + 3  # from row 2, column 3
    assert places[0, 1, 5, 0] == 5 * 8  # clamped to the grid


@pytest.mark.parametrize('anchors', [None, (0, 0, 0), (0, 0, 2)])
def test_steps_are_taken_from_the_anchors(anchors):
    displacement = torch.tensor([1.0, 0.5, 0.25]).view(1, 3, 1, 1)
    displacement = displacement * torch.tensor([0.0, 1.0])
    positions = chain_displacements(
        displacement.expand(-1, -1, 48, -1), GRID, anchors
    )
    columns = {
        None: [0, 1, 1.5, 1.75],
        (0, 0, 0): [0, 1, 0.5, 0.25],
        (0, 0, 2): [0, 1, 0.5, 0.75],
    }
    assert positions[0, :, 0, 1].tolist() == columns[anchors]


def test_rematching_reads_steps_at_the_positions():
    # Columns move by a fraction of their number.
    step = torch.zeros(1, 2, 48, 2)
    step[..., 1] = torch.arange(8.0).repeat(6) / 8
    before = moved([0.0, 0.5], [0.0, 1.0])
    after = before.rematch(step)
    columns = after.positions[0, :, 2, 1]  # of the route from column 2
    expected = torch.tensor([2, 2.5 + 2.5 / 8, 3.5 + 3.5 / 8])
    torch.testing.assert_close(columns, expected)
    assert after.segments is None


def halves(frames):
    """Accept the patches of the left four columns: bool (1, T-1, N)."""
    return (torch.arange(8) < 4).repeat(6).expand(1, frames - 1, 48)


@pytest.mark.parametrize('column, kept', [(3.4, True), (3.6, False)])
def test_a_route_is_accepted_if_most_patches_around_it_are(column, kept):
    positions = torch.tensor([1.5, column]).expand(1, 1, 48, 2)
    accepted = accept(positions, halves(2), GRID)
    assert accepted.shape == (1, 2, 48)
    assert accepted[:, 0].all() and (accepted[:, 1] == kept).all()


def test_rematched_routes_are_accepted_where_they_were():
    before = moved([0.0, 2.0], [0.0, -2.0])
    after = before.rematch(torch.zeros(1, 2, 48, 2), halves(3))
    columns = before.positions[0, 1:, :, 1]
    assert torch.equal(after.accepted[0, 1:], columns < 4)
    assert torch.equal(after.segments == 0, after.accepted)


@pytest.mark.parametrize('anchors', [None, (0, 0), (0, 1)])
def test_a_clip_of_a_batch_keeps_its_matches(anchors):
    positions = torch.rand(2, 3, 48, 2) * 5
    accepted = torch.rand(2, 3, 48) < 0.7
    batch, alone = (
        DisplacementAlignment(p, GRID, accepted=a, anchors=anchors)
        for p, a in ((positions, accepted), (positions[1:], accepted[1:]))
    )
    clip = batch.clip(1)
    assert torch.equal(clip.positions, alone.positions)
    assert torch.equal(clip.accepted, alone.accepted)
    assert torch.equal(clip.segments, alone.segments)


def test_a_clip_is_assigned_by_the_same_solver():

    def assign(similarity, grid):
        return torch.arange(48).flip(0).expand(len(similarity), 48)

    positions = patch_positions().expand(2, 2, -1, -1)
    routes = DisplacementAlignment(positions, GRID, assign).clip(1).routes
    assert torch.equal(routes, torch.arange(47, -1, -1).expand(1, 2, 48))


def test_routes_of_a_clip_do_not_depend_on_the_others():
    torch.manual_seed(0)
    speeds = torch.tensor([0.3, 3.0]).view(2, 1, 1, 1)
    for _ in range(20):
        steps = torch.randn(2, 3, 48, 2) * speeds
        positions = chain_displacements(steps, GRID)
        alignment = DisplacementAlignment(positions, GRID)
        for index in range(2):
            alone = alignment.clip(index)
            assert torch.equal(alignment.routes[index], alone.routes[0])


def test_everything_is_accepted_by_default():
    alignment = moved([0.5, 0.0])
    assert alignment.segments is None and alignment.accepted.all()
    assert 'routes' not in vars(alignment)  # a solve for each frame
    assert alignment.clip(0).segments is None


def test_routes_are_assigned_by_the_given_solver():
    calls = []

    def assign(similarity, grid):
        calls.append((tuple(similarity.shape), grid))
        return torch.arange(48).flip(0).expand(1, 48)

    positions = patch_positions().expand(1, 3, -1, -1)
    routes = DisplacementAlignment(positions, GRID, assign).routes
    assert calls == [((1, 48, 48), GRID)] * 3
    assert torch.equal(routes, torch.arange(47, -1, -1).expand(1, 3, 48))


@pytest.mark.parametrize(
    'positions',
    [
        torch.zeros(3, 48, 2),
        torch.zeros(1, 3, 48, 3),
        torch.zeros(1, 3, 48, 2).long(),
    ],
)
def test_refuses_what_are_no_positions(positions):
    with pytest.raises(ValueError, match=r'of shape \(B, T, N, 2\)'):
        DisplacementAlignment(positions, GRID)


def test_refuses_positions_of_another_grid():
    with pytest.raises(ValueError, match='N = 48 patches'):
        DisplacementAlignment(torch.zeros(1, 3, 48, 2), (6, 7))


@pytest.mark.parametrize(
    'options',
    [
        dict(accepted=torch.ones(1, 2, 48) > 0),
        dict(anchors=[0]),
        dict(anchors=[0, 2]),
    ],
)
def test_refuses_what_does_not_fit_the_positions(options):
    (name,) = options
    with pytest.raises(ValueError, match=f'Expected {name}'):
        DisplacementAlignment(torch.zeros(1, 3, 48, 2), GRID, **options)


def test_refuses_displacements_of_another_clip():
    alignment, step = moved([0.0, 0.5], [0.0, 1.0]), torch.zeros(1, 2, 48, 2)
    with pytest.raises(ValueError, match='Expected matching'):
        alignment.rematch(step[:, 1:])
    with pytest.raises(ValueError, match='Expected accepted'):
        alignment.rematch(step, halves(2))


@pytest.mark.parametrize('verb', ['align', 'dealign'])
def test_refuses_features_of_another_clip(verb):
    with pytest.raises(ValueError, match=r'\(1, 2, 48\), got \(1, 3, 48, 5\)'):
        getattr(moved([0.0, 0.0]), verb)(torch.randn(1, 3, 48, 5))


def test_is_an_alignment():
    assert isinstance(moved([0.5, 0.0]), Alignment)


def test_sampling_reads_as_grid_sample():
    positions, maps = random_positions(), torch.randn(3, 48, 5)
    scaled = 2 * positions / (torch.tensor(GRID) - 1) - 1  # to -1..1
    expected = F.grid_sample(
        maps.transpose(1, 2).unflatten(2, GRID),
        scaled.flip(-1)[:, None],
        align_corners=True,
    )
    torch.testing.assert_close(
        BilinearSampling(positions, GRID).read(maps),
        expected[:, :, 0].transpose(1, 2),
    )


def test_sampling_writes_the_adjoint():
    sampling = BilinearSampling(random_positions(), GRID)
    maps, values = torch.randn(2, 3, 48, 5)
    matrix = sampling.read(torch.eye(48).expand(3, -1, -1))
    torch.testing.assert_close(sampling.read(maps), matrix @ maps)
    torch.testing.assert_close(
        sampling.write(values), matrix.transpose(1, 2) @ values
    )


def test_dealignment_averages_the_routes_around_a_patch():
    positions, values = random_positions(), torch.randn(1, 3, 48, 5)
    matrix = BilinearSampling(positions, GRID).read(
        torch.eye(48).expand(3, -1, -1)
    )
    weight = matrix.sum(1, keepdim=True).clamp_min(0.1)  # of each patch
    torch.testing.assert_close(
        DisplacementAlignment(positions[None], GRID).dealign(values)[0],
        (matrix / weight).transpose(1, 2) @ values[0],
    )


def test_the_round_trip_preserves_a_constant():
    positions = patch_positions()[None, None] * 0.9 + 0.1
    alignment = DisplacementAlignment(positions, GRID)
    ones = torch.ones(1, 1, 48, 1)
    torch.testing.assert_close(alignment.align(ones), ones)
    torch.testing.assert_close(alignment.dealign(ones), ones)


@pytest.mark.parametrize('grid', [(1, 1), (1, 5), (4, 6)])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_sampling_at_patches_is_exact_to_the_bit(grid, dtype):
    maps = torch.randn(2, grid[0] * grid[1], 3).to(dtype)
    positions = patch_positions(grid).expand(2, -1, -1)
    sampling = BilinearSampling(positions, grid)
    assert torch.equal(sampling.read(maps), maps)
    assert torch.equal(sampling.write(maps).to(dtype), maps)


@pytest.mark.parametrize('verb', ['read', 'write'])
def test_gradients_of_sampling_are_correct(verb):
    grid = (2, 3)
    positions = torch.rand(1, 6, 2, dtype=torch.double)
    positions = (positions * (torch.tensor(grid) - 1)).requires_grad_()
    values = torch.randn(1, 6, 2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda p, v: getattr(BilinearSampling(p, grid), verb)(v),
        (positions, values),
    )


def test_gradients_of_chained_displacements_are_correct():
    steps = torch.rand(1, 3, 12, 2, dtype=torch.double) - 0.5
    assert torch.autograd.gradcheck(
        lambda steps: chain_displacements(steps, (3, 4)),
        steps.requires_grad_(),
    )


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int64, torch.bool])
def test_integers_have_no_weighted_means(dtype):
    alignment = moved((0.5, 0.0))
    x = torch.ones(*alignment.shape, 3, dtype=dtype)
    for apply in (alignment.align, alignment.dealign):
        with pytest.raises(ValueError, match=f'floating-point.*{dtype}'):
            apply(x)
