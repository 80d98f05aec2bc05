# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
import torch.nn.functional as F

from ata_mm.ops import Alignment

# Of frames 1 to 4: the previous ones, the first, and every second one.
ANCHORS = [None, (0, 0, 0, 0), (0, 0, 2, 2)]


def random_routes(batch=2, frames=3, num=6):
    return torch.rand(batch, frames, num).argsort(-1)


def random_matching(batch=2, pairs=4, num=6):
    """Return the matches of frame pairs, and which of them are accepted."""
    matching = torch.rand(batch, pairs, num).argsort(-1)
    return matching, torch.rand(batch, pairs, num) < 0.7


def test_align_orders_patches_by_route():
    routes, x = random_routes(), torch.randn(2, 3, 6, 4)
    y = Alignment(routes).align(x)
    for b, t, i in [(0, 0, 0), (0, 2, 5), (1, 1, 3)]:
        assert torch.equal(y[b, t, i], x[b, t, routes[b, t, i]])


@pytest.mark.parametrize(
    'dtype', [torch.float32, torch.bfloat16, torch.float16]
)
def test_round_trip_is_exact_to_the_bit(dtype):
    x = torch.randn(2, 8, 49, 32).to(dtype)
    alignment = Alignment(random_routes(2, 8, 49))
    assert torch.equal(alignment.dealign(alignment.align(x)), x)
    assert torch.equal(alignment.align(alignment.dealign(x)), x)


def test_indices_are_aligned_as_features_are():
    routes = random_routes()
    index = torch.arange(6).expand(2, 3, 6)[..., None]
    assert torch.equal(Alignment(routes).align(index)[..., 0], routes)


def test_gradient_of_align_is_dealign():
    alignment = Alignment(random_routes())
    x = torch.randn(2, 3, 6, 4, requires_grad=True)
    gradient = torch.randn(2, 3, 6, 4)
    alignment.align(x).backward(gradient)
    assert torch.equal(x.grad, alignment.dealign(gradient))


def test_matchings_compose_along_the_clip():
    matching = torch.tensor([[[1, 2, 0], [0, 2, 1]]])
    routes = Alignment.from_matching(matching).routes
    assert routes.tolist() == [[[0, 1, 2], [1, 2, 0], [2, 1, 0]]]


def test_everything_is_accepted_by_default():
    alignment = Alignment(random_routes())
    assert alignment.segments is None
    assert alignment.accepted.shape == alignment.shape
    assert alignment.accepted.dtype == torch.bool and alignment.accepted.all()


@pytest.mark.parametrize('anchors', ANCHORS)
def test_matches_are_accepted_by_route(anchors):
    matching, accepted = random_matching()
    alignment = Alignment.from_matching(matching, accepted, anchors)
    assert alignment.accepted[:, 0].all()
    for t, anchor in enumerate(anchors or range(4), start=1):
        for route in range(6):
            patch = alignment.routes[1, anchor, route]
            expected = accepted[1, t - 1, patch]
            assert alignment.accepted[1, t, route] == expected


@pytest.mark.parametrize('anchors', ANCHORS)
def test_frames_are_in_a_segment_if_no_rejected_match_is_between(anchors):
    matching, accepted = random_matching()
    alignment = Alignment.from_matching(matching, accepted, anchors)
    steps = list(anchors or range(4))

    def origin(t, route):
        """Go back along accepted matches, to the frame where they start."""
        while t and alignment.accepted[0, t, route]:
            t = steps[t - 1]
        return t

    for route in range(6):
        origins = torch.tensor([origin(t, route) for t in range(5)])
        segments = alignment.segments[0, :, route]
        assert torch.equal(
            segments[:, None] == segments, origins[:, None] == origins
        )


def test_segments_of_frame_0_are_zero():
    # What is not 0 is behind a rejected match.
    alignment = Alignment.from_matching(*random_matching())
    for t in range(1, 5):
        together = alignment.accepted[:, : t + 1].all(1)
        assert torch.equal(alignment.segments[:, t] == 0, together)


@pytest.mark.parametrize('frames', [2, 5, 8, 32])
def test_routes_of_any_length_are_one_segment_if_all_is_accepted(frames):
    matching, accepted = random_matching(pairs=frames - 1)
    every = torch.ones_like(accepted)
    assert not Alignment.from_matching(matching, every).segments.any()


def test_rematching_moves_each_route_on_from_where_it_is():
    matching, accepted = random_matching()
    again, accepted_again = random_matching()
    first = Alignment.from_matching(matching, accepted)
    second = first.rematch(again, accepted_again)
    assert torch.equal(second.routes[:, 0], first.routes[:, 0])
    for t, route in [(1, 0), (2, 5), (4, 3)]:
        patch = first.routes[1, t, route]
        assert second.routes[1, t, route] == again[1, t - 1, patch]
        assert second.accepted[1, t, route] == accepted_again[1, t - 1, patch]


def test_rematched_frames_are_matched_to_frame_0():
    first = Alignment.from_matching(*random_matching())
    second = first.rematch(*random_matching())
    assert torch.equal(second.segments == 0, second.accepted)


def test_rematching_without_rejection_accepts_everything():
    first = Alignment.from_matching(*random_matching())
    assert first.rematch(random_matching()[0]).segments is None


def falling_back(**shape):
    """Return routes from frame 0, neighbour matches, and both together."""
    first = Alignment.from_matching(*random_matching(**shape), [0] * 4)
    neighbours = random_matching(**shape)
    return first, neighbours, first.fall_back(*neighbours)


def continued(first, neighbours, both, t, route):
    """Return the patch to which a rejected route continues, or None."""
    matching, accepted = neighbours
    before = both.routes[0, t - 1, route]
    patch = matching[0, t - 1, before]
    kept = first.routes[0, t][first.accepted[0, t]]
    if accepted[0, t - 1, before] and patch not in kept:
        return patch
    return None


def test_routes_fall_back_only_where_they_are_rejected():
    first, _, both = falling_back()
    kept = first.accepted
    assert both.accepted[kept].all() and not both.segments[kept].any()
    assert torch.equal(both.routes[kept], first.routes[kept])
    assert (both.accepted & ~kept).any()


def test_rejected_routes_continue_from_the_previous_frame():
    first, neighbours, both = falling_back(batch=1)
    for t, route in (~first.accepted[0]).nonzero().tolist():
        patch = continued(first, neighbours, both, t, route)
        assert both.accepted[0, t, route] == (patch is not None)
        if patch is not None:
            assert both.routes[0, t, route] == patch


def test_continued_routes_stay_in_their_segment():
    first, _, both = falling_back()
    for t in range(1, 5):
        stepped = both.accepted[:, t] & ~first.accepted[:, t]
        segments = both.segments[:, t]
        assert torch.equal(segments[stepped], both.segments[:, t - 1][stepped])
        assert (segments[~both.accepted[:, t]] == t).all()


@pytest.mark.parametrize('part', ['kept', 'clip', 'after'])
def test_routes_that_fall_back_visit_every_patch_once(part):
    _, _, both = falling_back(batch=8)
    if part == 'clip':
        both = both.clip(3)
    elif part == 'after':
        both = both.after(Alignment(random_routes(8, 5)))
    patches = torch.arange(6).expand_as(both.routes)
    assert torch.equal(both.routes.sort(-1).values, patches)


def test_a_clip_of_a_batch_keeps_what_it_falls_back_to():
    first, (matching, accepted), both = falling_back()
    alone = first.clip(1).fall_back(matching[1:], accepted[1:])
    for clip in (both.clip(1), alone):
        assert torch.equal(clip.routes, both.routes[1:])
        assert torch.equal(clip.segments, both.segments[1:])


def test_nothing_falls_back_where_nothing_is_rejected():
    matching, _ = random_matching()
    first = Alignment.from_matching(matching, None, [0] * 4)
    both = first.fall_back(*random_matching())
    assert torch.equal(both.routes, first.routes)
    assert both.accepted.all() and not both.segments.any()


def test_neighbour_matches_are_accepted_by_default():
    first, (matching, accepted), _ = falling_back()
    expected = first.fall_back(matching, torch.ones_like(accepted))
    assert torch.equal(first.fall_back(matching).routes, expected.routes)


@pytest.mark.parametrize('anchors', ANCHORS)
def test_a_clip_of_a_batch_keeps_its_matches(anchors):
    matching, accepted = random_matching()
    clip = Alignment.from_matching(matching, accepted, anchors).clip(1)
    alone = Alignment.from_matching(matching[1:], accepted[1:], anchors)
    assert torch.equal(clip.routes, alone.routes)
    assert torch.equal(clip.accepted, alone.accepted)
    assert torch.equal(clip.segments, alone.segments)


def test_clips_are_counted_from_the_end_as_well():
    alignment = Alignment.from_matching(*random_matching())
    last, expected = alignment.clip(-1), alignment.clip(1)
    assert torch.equal(last.routes, expected.routes)
    assert torch.equal(last.accepted, expected.accepted)


@pytest.mark.parametrize('index', [2, -3])
def test_a_batch_has_no_further_clips(index):
    with pytest.raises(IndexError, match='size 2'):
        Alignment(random_routes()).clip(index)


def test_a_clip_without_rejection_has_no_segments():
    assert Alignment(random_routes()).clip(0).segments is None


def test_an_alignment_of_aligned_patches_is_one_of_the_frames():
    matching, accepted = random_matching()
    first = Alignment(random_routes(frames=5))
    second = Alignment.from_matching(matching, accepted, (0, 0, 2, 2))
    both, x = second.after(first), torch.randn(2, 5, 6, 4)
    assert torch.equal(both.align(x), second.align(first.align(x)))
    assert torch.equal(both.accepted, second.accepted)
    assert torch.equal(both.segments, second.segments)


def test_places_are_the_routes():
    alignment = Alignment(random_routes())
    assert torch.equal(alignment.places, alignment.routes)


def test_similarity_is_the_cosine_of_each_step():
    routes, x = random_routes(), torch.randn(2, 3, 6, 8)
    steps = Alignment(routes).similarity(x)
    expected = F.cosine_similarity(
        x[1, 1, routes[1, 1, 4]], x[1, 2, routes[1, 2, 4]], dim=0
    )
    assert steps.shape == (2, 2, 6)
    torch.testing.assert_close(steps[1, 1, 4], expected)


def test_similarity_is_computed_in_fp32_and_outside_autograd():
    x = torch.randn(2, 3, 6, 8).bfloat16().requires_grad_()
    alignment = Alignment(random_routes())
    steps = alignment.similarity(x)
    assert steps.dtype == torch.float32 and not steps.requires_grad
    assert torch.equal(steps, alignment.similarity(x.float()))


def test_grid_positions_are_rows_and_columns():
    routes = torch.tensor([[[0, 1, 2, 3, 4, 5], [5, 1, 0, 3, 4, 2]]])
    positions = Alignment(routes).grid_positions((2, 3))  # rows of 3 patches
    expected = [[1, 2], [0, 1], [0, 0], [1, 0], [1, 1], [0, 2]]
    assert positions[0, 1].tolist() == expected


def test_displacement_is_in_patches():
    routes = torch.tensor([[[0, 1, 2, 3, 4, 5], [5, 1, 0, 3, 4, 2]]])
    steps = Alignment(routes).displacement((2, 3))  # rows of 3 patches
    expected = torch.tensor([5**0.5, 0, 2, 0, 0, 1])
    torch.testing.assert_close(steps, expected[None, None])


def test_displacement_refuses_another_grid():
    with pytest.raises(ValueError, match=r'N = 6 patches, got grid=\(2, 2\)'):
        Alignment(random_routes()).displacement((2, 2))


@pytest.mark.parametrize('verb', ['align', 'dealign'])
@pytest.mark.parametrize('shape', [(1, 2, 4, 8), (1, 3, 5, 8), (3, 4, 8)])
def test_refuses_features_of_another_clip(verb, shape):
    alignment = Alignment(torch.arange(4).expand(1, 3, 4))
    with pytest.raises(ValueError, match=r'\(1, 3, 4\), got \(\d, '):
        getattr(alignment, verb)(torch.randn(shape))


@pytest.mark.parametrize(
    'routes', [torch.arange(4), torch.arange(4.0).expand(1, 3, 4)]
)
def test_refuses_routes_of_another_shape_or_dtype(routes):
    with pytest.raises(ValueError, match=r'int64 routes of shape \(B, T, N\)'):
        Alignment(routes)


@pytest.mark.parametrize(
    'options',
    [
        dict(accepted=torch.ones(2, 3, 9) > 0),  # not of frame 0
        dict(accepted=torch.ones(2, 4, 9)),
        dict(anchors=[0]),
        dict(anchors=[0, 0, 3]),
        dict(anchors=[0, -1, 0]),
        dict(anchors=torch.zeros(2, 4, 9).long()),
        dict(anchors=torch.zeros(2, 3, 9)),
        dict(anchors=torch.ones(2, 3, 9).long()),
        dict(anchors=-torch.ones(2, 3, 9).long()),
        dict(inverse=torch.arange(9).expand(2, 3, 9)),
    ],
)
def test_refuses_what_does_not_fit_the_routes(options):
    (name,) = options
    with pytest.raises(ValueError, match=f'Expected {name}'):
        Alignment(torch.arange(9).expand(2, 4, 9), **options)


@pytest.mark.parametrize(
    'options',
    [
        dict(accepted=torch.ones(2, 4, 9) > 0),
        dict(anchors=[0]),
        dict(anchors=[0, 0, 3]),
    ],
)
def test_refuses_what_does_not_fit_the_matchings(options):
    (name,) = options
    with pytest.raises(ValueError, match=f'Expected {name}'):
        Alignment.from_matching(torch.arange(9).expand(2, 3, 9), **options)


@pytest.mark.parametrize(
    'matching', [torch.arange(9).expand(3, 9), torch.ones(2, 3, 9)]
)
def test_refuses_matchings_of_another_shape_or_dtype(matching):
    with pytest.raises(ValueError, match=r'matchings of shape \(B, T-1, N\)'):
        Alignment.from_matching(matching)


@pytest.mark.parametrize('verb', ['rematch', 'fall_back'])
def test_refuses_matchings_of_another_clip(verb):
    alignment = Alignment(random_routes(frames=5))
    matching, accepted = random_matching()
    for other in [matching[:, 1:], matching[:1], matching[..., :3]]:
        with pytest.raises(ValueError, match='Expected matching'):
            getattr(alignment, verb)(other)
    with pytest.raises(ValueError, match='Expected accepted'):
        getattr(alignment, verb)(matching, accepted[:, 1:])


def test_refuses_to_follow_an_alignment_of_another_clip():
    with pytest.raises(ValueError, match='Expected routes'):
        Alignment(random_routes(2)).after(Alignment(random_routes(3)))


def test_refuses_routes_that_meet_in_a_patch():
    with pytest.raises(ValueError, match='repeated'):
        Alignment(torch.tensor([[[0, 1, 2], [0, 1, 1]]]))


def test_repr_names_the_shape():
    assert repr(Alignment(random_routes())) == 'Alignment(B=2, T=3, N=6)'
