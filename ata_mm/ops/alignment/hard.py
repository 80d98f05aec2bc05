# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Alignment along routes of whole patches (Sec. 3.3)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..norms import normalize
from ..permutation import (
    chain_and_invert,
    complete,
    compose,
    identity,
    invert,
    permute,
)
from ..types import Grid
from ..validation import check_grid, check_tensor
from .matches import (
    Anchors,
    check_anchors,
    check_matches,
    check_route_anchors,
    find_segments,
    prepend_frame_0,
    take_clip,
    take_frames,
)


class Alignment:
    """Routes of patches through a clip, one through every patch.

    `align` orders the patches of all frames by route: attention over T at a
    fixed index then follows the content. `dealign` is its inverse, exact to
    the bit (Eq. 7).

    Args:
        routes (Tensor): int64 of shape (B, T, N); ``routes[b, t, i]`` is the
            patch of frame t on route i.
        accepted (Tensor, optional): Bool of shape (B, T, N), by route; see
            `accepted`. Defaults to None: everything is accepted.
        anchors (Sequence[int] | Tensor, optional): For each of the T-1 frames
            from 1 on, the earlier frame that its matches come from; or that of
            each route, int64 of shape (B, T-1, N). Defaults to None, the
            previous one.
        inverse (Tensor, optional): The route through each patch, int64 of
            shape (B, T, N), if it is known. Defaults to None, computed.

    Attributes:
        shape (torch.Size): (B, T, N).
        segments (Tensor | None): Parts of each route that no rejected match
            divides, int64 of shape (B, T, N): frames of a route that show the
            same content have equal numbers. None if nothing can be rejected.

    Raises:
        ValueError: If ``routes`` is not int64 of shape (B, T, N), another
            argument does not have its shape, or an anchor is not before its
            frame; or, on the CPU, if the entries of a frame are not a
            permutation of 0..N-1. On a GPU values are not checked, to avoid
            synchronisation; an invalid index yields NaN.

    Examples:
        >>> x = torch.randn(2, 8, 196, 768)
        >>> alignment = align_frames(x)
        >>> y = alignment.align(x)
        >>> torch.equal(alignment.dealign(y), x)
        True
    """

    def __init__(
        self,
        routes: Tensor,
        accepted: Tensor | None = None,
        anchors: Anchors | None = None,
        inverse: Tensor | None = None,
    ) -> None:
        _check_permutations(routes, 'routes of shape (B, T, N)')
        self._set_matches(routes.shape, accepted, anchors)
        if inverse is not None:
            check_tensor(inverse, 'inverse', routes.shape, torch.int64)
        self._routes = routes
        # Inverted here rather than in `dealign`: this also checks that every
        # frame is a permutation, while the stack still shows the matcher.
        self._inverse = invert(routes) if inverse is None else inverse

    def _set_matches(
        self,
        shape: torch.Size,
        accepted: Tensor | None,
        anchors: Anchors | None,
    ) -> None:
        if accepted is not None:
            check_tensor(accepted, 'accepted', shape, torch.bool)
        if isinstance(anchors, Tensor):
            check_route_anchors(anchors, shape)
        else:
            check_anchors(anchors, shape[1] - 1)
        self.shape = shape
        self._accepted = accepted
        self._anchors = range(shape[1] - 1) if anchors is None else anchors
        self.segments = find_segments(accepted, self._anchors)

    @classmethod
    def from_matching(
        cls,
        matching: Tensor,
        accepted: Tensor | None = None,
        anchors: Sequence[int] | None = None,
    ) -> 'Alignment':
        """Compose the matchings of a clip to routes.

        Args:
            matching (Tensor): int64 permutations of shape (B, T-1, N);
                ``[:, t - 1]`` leads into frame t.
            accepted (Tensor, optional): Bool of shape (B, T-1, N), by the
                first patch of each match. Defaults to None, all.
            anchors (Sequence[int], optional): See :class:`Alignment`. Defaults
                to None.

        Returns:
            Alignment: Its routes start at the patches of frame 0.

        Raises:
            ValueError: If an argument has another shape, an anchor is not
                before its frame, or a matching is not a permutation; see
                :class:`Alignment`.
        """
        _check_permutations(matching, 'matchings of shape (B, T-1, N)')
        check_matches(matching.shape, matching, accepted, anchors)
        routes, inverse = chain_and_invert(matching, anchors)
        if accepted is not None:
            before = take_frames(routes, anchors)
            accepted = prepend_frame_0(compose(accepted, before))
        return cls(routes, accepted, anchors, inverse)

    def rematch(
        self, matching: Tensor, accepted: Tensor | None = None
    ) -> 'Alignment':
        """Correct the routes by matchings within each frame.

        Args:
            matching (Tensor): int64 permutations of shape (B, T-1, N) that
                lead from the patches of frames 1 to T-1 on the routes so far
                to better ones.
            accepted (Tensor, optional): As in `from_matching`. Defaults to
                None.

        Returns:
            Alignment: Routes whose matches all come from frame 0.

        Raises:
            ValueError: If an argument has another shape.
        """
        before = self.routes[:, 1:]
        check_matches(before.shape, matching, accepted, dtype=torch.int64)
        routes = torch.cat([self.routes[:, :1], compose(matching, before)], 1)
        if accepted is not None:
            accepted = prepend_frame_0(compose(accepted, before))
        return type(self)(routes, accepted, [0] * before.shape[1])

    def fall_back(
        self, matching: Tensor, accepted: Tensor | None = None
    ) -> 'Alignment':
        """Continue routes from the previous frame where they are rejected.

        A route whose match from frame 0 is rejected takes the match of its
        patch in the previous frame, if that is accepted, to a patch that no
        accepted match from frame 0 takes. Routes without either get the
        patches that are left, in their order, and are rejected.

        Args:
            matching (Tensor): int64 permutations of shape (B, T-1, N) of
                neighbouring frames; ``[:, t - 1]`` leads into frame t.
            accepted (Tensor, optional): As in `from_matching`. Defaults to
                None.

        Returns:
            Alignment: Its matches come from frame 0 or the previous frame.

        Raises:
            ValueError: If an argument has another shape.
        """
        shape = self.routes[:, 1:].shape
        check_matches(shape, matching, accepted, dtype=torch.int64)
        matching = matching.clamp(0, self.shape[2] - 1)  # see `compose`
        # By patch of each frame.
        taken = self.accepted.scatter(2, self.routes, self.accepted)
        usable = ~compose(taken[:, 1:], matching)
        if accepted is not None:
            usable &= accepted
        own, kept = self.routes.unbind(1), self.accepted.unbind(1)
        routes, steps = [own[0]], []
        for t in range(1, len(own)):
            before = routes[-1]
            step = compose(usable[:, t - 1], before) & ~kept[t]
            place = compose(matching[:, t - 1], before).where(step, own[t])
            routes.append(complete(place, kept[t] | step))
            steps.append(step)
        if not steps:  # a clip of one frame
            return self
        stepped = torch.stack(steps, 1)
        previous = identity(stepped.shape[1], device=stepped.device)
        return Alignment(
            torch.stack(routes, 1),
            self.accepted | prepend_frame_0(stepped),
            stepped * previous[:, None],  # frame 0 where no step is taken
        )

    @property
    def device(self) -> torch.device:
        """Device of the routes."""
        return self._routes.device

    @property
    def routes(self) -> Tensor:
        """Patch of each frame on each route: int64 of shape (B, T, N)."""
        return self._routes

    @property
    def places(self) -> Tensor:
        """Patch that each route is at: int64 of shape (B, T, N).

        The `routes`; where they are between patches, the nearest one, which
        several routes may share.
        """
        return self.routes

    @property
    def accepted(self) -> Tensor:
        """Acceptance of the match that leads into each frame.

        Bool of shape (B, T, N), by route; True in frame 0. See
        ``min_similarity`` of :func:`~ata_mm.ops.align_frames`.
        """
        if self._accepted is None:
            return torch.ones(self.shape, dtype=torch.bool, device=self.device)
        return self._accepted

    def clip(
        self, index: int, device: torch.device | None = None
    ) -> 'Alignment':
        """Return the alignment of one clip, (1, T, N).

        Args:
            index (int): Index of the clip in the batch; negative ones count
                from its end.
            device (torch.device, optional): Of the result. Defaults to None,
                the same.

        Raises:
            IndexError: If the batch has no such clip.
        """
        return type(self)(
            take_clip(self.routes, index, device),
            *self._matches_of_clip(index, device),
        )

    def _matches_of_clip(
        self, index: int, device: torch.device | None
    ) -> tuple[Tensor | None, Anchors]:
        """Return ``accepted`` and ``anchors`` of one clip."""
        accepted, anchors = self._accepted, self._anchors
        if accepted is not None:
            accepted = take_clip(accepted, index, device)
        if isinstance(anchors, Tensor):
            anchors = take_clip(anchors, index, device)
        return accepted, anchors

    def after(self, first: 'Alignment') -> 'Alignment':
        """Return this alignment of aligned patches as one of the frames.

        Args:
            first (Alignment): Applied to the patches before this one was
                computed.

        Raises:
            ValueError: If it is of another (B, T, N).
        """
        check_tensor(first.routes, 'routes', self.shape, torch.int64)
        routes = compose(first.routes, self.routes)
        return Alignment(routes, self._accepted, self._anchors)

    def __repr__(self) -> str:
        batch, frames, num = self.shape
        return f'{type(self).__name__}(B={batch}, T={frames}, N={num})'

    def align(self, x: Tensor) -> Tensor:
        """Order patches by route: ``y[b, t, i] = x[b, t, routes[b, t, i]]``.

        Args:
            x (Tensor): (B, T, N, C') in the order of the frames, any C'.

        Returns:
            Tensor: (B, T, N, C') in route order.

        Raises:
            ValueError: If x is not of this clip's (B, T, N).
        """
        self._check(x)
        return permute(x, self.routes, self._inverse)

    def dealign(self, y: Tensor) -> Tensor:
        """Undo `align`, exactly to the bit.

        Args:
            y (Tensor): (B, T, N, C') in route order, any C'.

        Returns:
            Tensor: (B, T, N, C') in the order of the frames.

        Raises:
            ValueError: If y is not of this clip's (B, T, N).
        """
        self._check(y)
        return permute(y, self._inverse, self.routes)

    @torch.no_grad()
    def similarity(self, x: Tensor) -> Tensor:
        """Compute the cosine similarity of each step along each route.

        Its sum over a frame pair is the criterion of Eq. 5, which the exact
        matching maximises.

        Args:
            x (Tensor): (B, T, N, C) in the order of the frames.

        Returns:
            Tensor: fp32 of shape (B, T-1, N); ``[b, t, i]`` compares the
            patches of frames t and t + 1 on route i.
        """
        # In fp32, as the similarities that the matching compares.
        y = self.align(x.float())
        y = normalize(y)
        return torch.linalg.vecdot(y[:, :-1], y[:, 1:])

    def grid_positions(self, grid: Grid) -> Tensor:
        """Return the row and column of each route in each frame.

        Args:
            grid (tuple[int, int]): Height and width of the patch grid.

        Returns:
            Tensor: int64 of shape (B, T, N, 2).

        Raises:
            ValueError: If the grid does not hold N patches.
        """
        _, width = check_grid(grid, self.shape[2])
        # Patches are numbered row by row, as flattening (H, W) does.
        return torch.stack([self.places // width, self.places % width], -1)

    def displacement(self, grid: Grid) -> Tensor:
        """Compute the length of each step along each route, in patches.

        Args:
            grid (tuple[int, int]): Height and width of the patch grid.

        Returns:
            Tensor: fp32 of shape (B, T-1, N); ``[b, t, i]`` is the distance
            between the positions of route i in the frames t and t + 1.

        Raises:
            ValueError: If the grid does not hold N patches.
        """
        return self.grid_positions(grid).float().diff(dim=1).norm(dim=-1)

    def _check(self, x: Tensor) -> None:
        if x.shape[:-1] != self.shape:
            raise ValueError(
                'Expected features of shape (B, T, N, C) with (B, T, N) = '
                f'{tuple(self.shape)}, got {tuple(x.shape)}.'
            )


def _check_permutations(x: Tensor, expected: str) -> None:
    if x.ndim != 3 or x.dtype != torch.int64:
        raise ValueError(
            f'Expected int64 {expected}, got {x.dtype} of shape '
            f'{tuple(x.shape)}.'
        )
