# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Alignment of the frames of clips (Alg. 1)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from .alignment import Alignment
from .alignment.matches import take_frames
from .matching import (
    AutoMatcher,
    Matcher,
    Matching,
    MatchingCache,
    as_matcher,
)
from .norms import normalize
from .permutation import identity
from .types import Grid
from .validation import check_grid, check_patches, is_count, is_number

_BOTH = 'first-or-previous'
# Names of the frame that each frame is matched to.
REFERENCES = ('previous', 'first', _BOTH)


def align_frames(
    x: Tensor,
    matcher: Matcher | Callable[..., Tensor] | str = 'auto',
    grid: Grid | None = None,
    cache: MatchingCache | None = None,
    reference: str | int = 'previous',
    refine: int = 0,
    min_similarity: float | None = None,
    support_radius: int = 0,
) -> Alignment:
    """Match the patches of frames and compose the matches to routes.

    Alg. 1 aligns each frame to the aligned frame before it, one solve after
    another. Aligning a frame only permutes the rows of the next problem.
    Therefore all frame pairs of all clips are solved in one batch, in their
    original order, and the permutations are composed. Both give the same
    routes, except for exact ties; :mod:`ata_mm.ops.reference` has the literal
    algorithm.

    The defaults are the paper's form. The other options add no parameter, and
    follow motion that it loses; the guide "Routes and motion" has
    measurements.

    Args:
        x (Tensor): Patch features of shape (B, T, N, C).
        matcher (Matcher | Callable | str): A :class:`~ata_mm.ops.Matcher`, or
            a function of similarities (..., N, N), called with ``grid=`` if a
            grid is given, that returns permutations (..., N) or plans
            (..., N, N). Defaults to 'auto', an `AutoMatcher`: exact up to 1024
            patches, on a GPU up to 400.
        grid (tuple[int, int], optional): Height and width of the patch grid,
            which some matchers and ``support_radius`` need. Defaults to None.
        cache (MatchingCache, optional): Reuses matchings of the previous call,
            for overlapping windows of a video, with reference='previous'.
            ``refine`` depends on the whole window and is computed again.
            Defaults to None.
        reference (str | int): The earlier frame that each frame is matched to.
            'previous', the frame before it, as in the paper: motion below half
            a patch per frame is matched as no motion. 'first', frame
            0: slow motion adds up until it is seen, and errors do not; content
            has to stay in view, and in the window of a matcher that has one.
            'first-or-previous', frame 0, and routes whose match from there is
            rejected continue from the previous frame, by which entering
            content is followed, too: twice the solves, by a one-to-one
            matcher, with ``min_similarity``. An integer K, the last frame
            whose index is a multiple of K: 1 is 'previous', T or more 'first'.
            Defaults to 'previous'.
        refine (int): Number of times that every frame is then matched again,
            to the mean of the normalised features that its routes have in the
            other frames, except those behind a rejected match. One batch of
            solves each. With ``support_radius``, the neighbours of a patch are
            those in its own frame. With 'first-or-previous', before routes
            fall back. Defaults to 0.
        min_similarity (float, optional): Lower similarities are raised to this
            value in the solve, which then prefers matches above it; a match
            that is not above it is rejected (see `Alignment.accepted`).
            Content that leaves the view no longer takes the patches of content
            that stays. Raised similarities have no gradient. Defaults to None.
        support_radius (int): Compare each patch together with its neighbours
            up to this distance, in patches; see
            :func:`~ata_mm.ops.matching.similarity.aggregate`. Defaults to 0.

    Returns:
        Alignment: Its ``routes`` have shape (B, T, N). A `SoftAlignment` if
        the matcher returns plans, a `DisplacementAlignment` if it is a
        `DisplacementMatcher`. On the meta device, where values cannot be
        compared, the routes are the identity.

    Raises:
        ValueError: If x is not (B, T, N, C), holds NaN or infinity (not on a
            GPU, see `ExactMatcher`), or has more patches than the matcher can
            solve; if the grid does not hold
            N patches, or ``support_radius`` is given without one; if
            ``matcher`` is neither 'auto' nor a matcher nor callable; if it
            returns neither permutations nor plans, or plans with
            'first-or-previous'; if an option is out of range, or given for a
            matcher that overrides `match_frames`.

    Examples:
        >>> x = torch.randn(2, 8, 196, 768)
        >>> alignment = align_frames(x, ExactMatcher(), grid=(14, 14))
        >>> alignment.routes.shape
        torch.Size([2, 8, 196])
        >>> alignment = align_frames(
        ...     x, grid=(14, 14), reference='first', refine=1,
        ...     min_similarity=0.4, support_radius=1)
    """
    # Only this name is resolved here: the registry is part of OpenMMLab, which
    # ops does not import.
    if isinstance(matcher, str) and matcher == 'auto':
        matcher = AutoMatcher()
    chosen = as_matcher(matcher)
    check_options(reference, refine, min_similarity, support_radius)
    check_patches(x)
    if grid is not None:
        check_grid(grid, x.shape[2])
    if support_radius:
        check_grid(grid, x.shape[2], f'support_radius={support_radius}')
    if x.device.type == 'meta':
        return Alignment(identity(*x.shape[:3], device=x.device))
    align = _align
    # A cache reads values of the features, which tracing cannot.
    if is_compiling() and not (
        cache is None and chosen.can_compile(x.device, x.shape[2])
    ):
        align = torch.compiler.disable(align)  # one graph break, not many
    options: dict[str, Any] = {}
    if min_similarity is not None:
        options['min_similarity'] = min_similarity
    if support_radius:
        options['support_radius'] = support_radius
    return align(x, chosen, grid, cache, reference, refine, options)


def check_options(
    reference: str | int = 'previous',
    refine: int = 0,
    min_similarity: float | None = None,
    support_radius: int = 0,
) -> None:
    """Raise if an option of :func:`align_frames` is out of range.

    Args:
        reference (str | int): See :func:`align_frames`. Defaults to
            'previous'.
        refine (int): Likewise. Defaults to 0.
        min_similarity (float, optional): Likewise. Defaults to None.
        support_radius (int): Likewise. Defaults to 0.

    Raises:
        ValueError: If one is.
    """
    if reference not in REFERENCES and not is_count(reference, 1):
        raise ValueError(
            f'Expected reference to be one of {", ".join(REFERENCES)} or a '
            f'number of frames from 1, got {reference!r}.'
        )
    if reference == _BOTH and min_similarity is None:
        raise ValueError(
            f'Expected min_similarity with reference={_BOTH!r}, which falls '
            'back where a match is rejected, got None. Set it, such as to 0.4.'
        )
    if not is_count(refine, 0):
        raise ValueError(
            f'Expected refine to be a number of times from 0, got {refine!r}.'
        )
    if min_similarity is not None and not (
        is_number(min_similarity) and -1 <= min_similarity < 1  # False of NaN
    ):
        raise ValueError(
            'Expected min_similarity=None or a cosine similarity from -1 to '
            f'below 1, got {min_similarity!r}.'
        )
    if not is_count(support_radius, 0):
        raise ValueError(
            'Expected support_radius to be a number of patches from 0, got '
            f'{support_radius!r}.'
        )


def _align(
    x: Tensor,
    matcher: Matcher,
    grid: Grid | None,
    cache: MatchingCache | None,
    reference: str | int,
    refine: int,
    options: dict[str, Any],
) -> Alignment:
    anchors = _anchors(reference, x.shape[1])
    paper = anchors is None and not options
    if not (paper and refine == 0) and (
        type(matcher).match_frames is not Matcher.match_frames
    ):
        raise ValueError(
            f'Expected match_pairs() of {matcher!r} to be overridden instead '
            'of match_frames(), which cannot match with reference, refine, '
            'min_similarity or support_radius.'
        )

    def match(frames: Tensor) -> Matching:
        if paper:
            return Matching(matcher.match_frames(frames, grid))
        if reference in ('first', _BOTH):
            source = frames[:, :1]  # one frame, not T-1 copies of it
        else:
            source = take_frames(frames, anchors)
        return _match_pairs(matcher, source, frames[:, 1:], grid, options)

    if cache is not None and anchors is None:
        found = cache(x, match, (matcher.key(), grid, options))
    else:  # anchors depend on where the window starts
        found = match(x)
    if reference == _BOTH and found.matching.is_floating_point():
        raise ValueError(
            f'Expected a one-to-one matcher with reference={_BOTH!r}, got '
            f"{matcher!r}. Use reference='first', or a matcher such as "
            'ExactMatcher.'
        )
    if found.accepted is None and anchors is None:
        alignment = matcher.follow(found.matching, grid)
    else:
        alignment = matcher.follow(
            found.matching, grid, found.accepted, anchors
        )
    if alignment.shape != x.shape[:3]:
        raise ValueError(
            f'Expected matchings of features {tuple(x.shape)} from '
            f'{matcher!r}, got an alignment of {tuple(alignment.shape)}, of '
            'another number of clips, frames or patches.'
        )
    for _ in range(refine if x.shape[1] > 1 else 0):
        template = _template(x, alignment)[:, 1:]
        found = _match_pairs(matcher, template, x[:, 1:], grid, options)
        alignment = alignment.rematch(*found)
    if reference == _BOTH:
        found = _match_pairs(matcher, x[:, :-1], x[:, 1:], grid, options)
        alignment = alignment.fall_back(*found)
    return alignment


def _match_pairs(
    matcher: Matcher,
    source: Tensor,
    target: Tensor,
    grid: Grid | None,
    options: dict[str, Any],
) -> Matching:
    """Match frame pairs by a matcher, which may be the user's."""
    found = matcher.match_pairs(source, target, grid, **options)
    if not isinstance(found, Matching):
        raise ValueError(
            f'Expected a Matching from match_pairs() of {matcher!r}, got '
            f'{type(found).__name__}. Return Matching(matching, accepted) of '
            'ata_mm.ops.matching.'
        )
    return found


def _anchors(reference: str | int, frames: int) -> list[int] | None:
    """Return the frames that frames 1 to T-1 are matched to."""
    if reference in ('previous', 1):
        return None
    step = frames if reference in ('first', _BOTH) else int(reference)
    return [(t - 1) // step * step for t in range(1, frames)]


@torch.no_grad()
def _template(x: Tensor, alignment: Alignment) -> Tensor:
    """Average the features of each route over the other frames.

    Args:
        x (Tensor): (B, T, N, C).
        alignment (Alignment): Its routes.

    Returns:
        Tensor: (B, T, N, C) in the order of the frames, not normalised: at
        each patch of a frame, the sum over all other frames of what the route
        through that patch shows there.
    """
    along = alignment.align(normalize(x))
    # In place: new memory of this size takes longer than the arithmetic.
    if alignment.segments is not None:
        # What is behind a rejected match is not what frame 0 shows.
        along *= (alignment.segments == 0)[..., None]
    # Without the frame itself, whose features match best where they are.
    along -= along.sum(1, keepdim=True)
    return alignment.dealign(along.neg_())
