# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Base class of matchers: matchings of frame pairs, and routes (Alg. 1)."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..alignment import Alignment, SoftAlignment
from ..tracing import is_tracing
from ..types import Grid
from .similarity import compare, favour_place

# Similarities that exist at a time: 256 MB of fp32, unless those of one frame
# pair of each clip are more. 32 frames of 56x56 patches would take 1.2 GB a
# clip.
_MAX_SIMILARITIES = 2**26


class Matching(NamedTuple):
    """Matches of the patches of frame pairs.

    Args:
        matching (Tensor): Permutations, plans or displacements, (B, P, ...).
        accepted (Tensor, optional): Bool of shape (B, P, N): whether the match
            of a patch is more similar than ``min_similarity``. None, the
            default, if there is no such limit.
    """

    matching: Tensor
    accepted: Tensor | None = None


class Matcher:
    """Base class of matchers, which match the patches of two frames.

    A matcher derives from this class and overrides `match`. The other methods
    have defaults:

    - `match`: similarities of frame pairs -> matchings;
    - `match_pairs`: features of frame pairs -> matchings. Override it if the
      matcher needs only some similarities, or their gradients;
    - `match_frames`: the same of the neighbouring frames of a clip, in the
      paper's form alone: a matcher that overrides it cannot have options of
      :func:`~ata_mm.ops.align_frames`;
    - `follow`: matchings -> `Alignment`. Override it if the matchings are
      neither permutations nor plans;
    - `can_compile`: False; True if torch.compile can trace the matching.

    The constructor stores its arguments as public attributes, and anything
    else as private ones. The public attributes make up the matcher's ``repr``
    and its `key`: matchers of equal keys compute equal matchings, and their
    blocks can share an alignment (see ``share_alignment`` of
    :class:`~ata_mm.models.ATA`).

    Examples:
        >>> @MATCHERS.register_module()
        ... class InPlace(Matcher):
        ...     def match(self, similarity, grid=None):
        ...         device = similarity.device
        ...         return identity(*similarity.shape[:-1], device=device)
    """

    def match(self, similarity: Tensor, grid: Grid | None = None) -> Tensor:
        """Match frame pairs.

        Args:
            similarity (Tensor): (..., N, N); ``[..., i, j]`` compares patch i
                of a frame with patch j of the next one.
            grid (tuple[int, int], optional): Height and width of the patch
                grid. Defaults to None.

        Returns:
            Tensor: int64 permutations of shape (..., N): patch i is matched to
            ``result[..., i]``; or floating-point plans of shape (..., N, N):
            the weight of patch j in the match of patch i.

        Raises:
            ValueError: If the similarities are not square, hold NaN or
                infinity, or N is too large for the matcher.
        """
        raise NotImplementedError(
            f'Expected {type(self).__name__} to implement match().'
        )

    def match_pairs(
        self,
        source: Tensor,
        target: Tensor,
        grid: Grid | None = None,
        min_similarity: float | None = None,
        support_radius: int = 0,
    ) -> Matching:
        """Match frame pairs by their features.

        Args:
            source (Tensor): Features of the first frames, (B, P, N, C), or
                (B, 1, N, C) if all pairs of a clip have the same one.
            target (Tensor): Features of the second frames, (B, P, N, C).
            grid (tuple[int, int], optional): Height and width of the patch
                grid. Defaults to None.
            min_similarity (float, optional): See
                :func:`~ata_mm.ops.align_frames`. Defaults to None.
            support_radius (int): Likewise. Defaults to 0.

        Returns:
            Matching: The matchings as `match` returns, (B, P, ...), and which
            matches are accepted.

        Raises:
            ValueError: As `match`.
        """
        batch, pairs, num, _ = target.shape
        if batch == 0 or pairs == 0:  # no clip, or of one frame
            matching = target.new_empty(batch, pairs, num, dtype=torch.int64)
            accepted = None if min_similarity is None else matching.bool()
            return Matching(matching, accepted)
        # A few pairs at a time: large maps have to fit into memory.
        step = pairs
        if not is_tracing():  # the batch may be symbolic
            step = max(1, _MAX_SIMILARITIES // (batch * num**2))
        parts = []
        for i in range(0, pairs, step):
            chosen = slice(i, i + step) if source.shape[1] > 1 else slice(None)
            similarity = compare(
                source[:, chosen],
                target[:, i : i + step],
                grid,
                support_radius,
            )
            parts.append(self._solve(similarity, grid, min_similarity))
        return concatenate(parts)

    def _solve(
        self,
        similarity: Tensor,
        grid: Grid | None,
        min_similarity: float | None,
    ) -> Matching:
        # Called as self(...): a subclass may override it to wrap every solve.
        if min_similarity is None:
            matching = self(favour_place(similarity), grid)
            self._check_solution(matching, similarity)
            return Matching(matching)
        raised = favour_place(similarity.clamp_min(min_similarity))
        matching = self(raised, grid)
        self._check_solution(matching, similarity)
        return Matching(
            matching, self._accept(similarity, matching, min_similarity)
        )

    def _check_solution(self, matching: object, similarity: Tensor) -> None:
        """Raise if the result of a solve is no matching of its device."""
        shape, device = tuple(similarity.shape), similarity.device
        if isinstance(matching, Tensor):
            found = tuple(matching.shape)
            hard = matching.dtype == torch.int64 and found == shape[:-1]
            soft = matching.is_floating_point() and found == shape
            if (hard or soft) and matching.device == device:
                return
            got = f'{matching.dtype} of shape {found} on {matching.device}'
        else:
            got = type(matching).__name__
        raise ValueError(
            f'Expected int64 permutations of shape {shape[:-1]} or '
            f'floating-point plans of shape {shape} on {device} from '
            f'{self!r}, got {got}.'
        )

    def _accept(
        self, similarity: Tensor, matching: Tensor, min_similarity: float
    ) -> Tensor:
        """Return which matches are more similar: bool (..., N)."""
        if matching.ndim < similarity.ndim:
            # Whatever a matcher returns, an index out of range would fault.
            index = matching.clamp(0, similarity.shape[-1] - 1)[..., None]
            found = similarity.gather(-1, index).squeeze(-1)
            return found > min_similarity
        # Of a plan, if most of its weight is on such patches.
        weight = matching.detach() * (similarity > min_similarity)
        return weight.sum(-1) > 0.5

    def match_frames(self, x: Tensor, grid: Grid | None = None) -> Tensor:
        """Match all neighbouring frame pairs of all clips.

        Args:
            x (Tensor): Patch features (B, T, N, C).
            grid (tuple[int, int], optional): Height and width of the patch
                grid. Defaults to None.

        Returns:
            Tensor: As `match` returns, (B, T-1, ...).

        Raises:
            ValueError: As `match`.
        """
        return self.match_pairs(x[:, :-1], x[:, 1:], grid).matching

    def follow(
        self,
        matching: Tensor,
        grid: Grid | None,
        accepted: Tensor | None = None,
        anchors: Sequence[int] | None = None,
    ) -> Alignment:
        """Compose the matchings of a clip to routes.

        Args:
            matching (Tensor): As `match_frames` returns; ``[:, t - 1]`` leads
                into frame t.
            grid (tuple[int, int] | None): Height and width of the patch grid.
            accepted (Tensor, optional): See `Matching`. Defaults to None.
            anchors (Sequence[int], optional): For each frame from 1 on, the
                earlier frame that it is matched to. Defaults to None, the
                previous one.

        Returns:
            Alignment: An `Alignment` of permutations, or a `SoftAlignment` of
            plans.

        Raises:
            ValueError: If the matchings are neither.
        """
        kind: type[Alignment] = Alignment
        if matching.is_floating_point():
            kind = SoftAlignment
        self._check_matching(matching)
        return kind.from_matching(matching, accepted, anchors)

    def _check_matching(self, matching: Tensor) -> None:
        hard = matching.ndim == 3 and matching.dtype == torch.int64
        square = matching.shape[-2:] == 2 * matching.shape[-1:]
        soft = matching.ndim == 4 and square and matching.is_floating_point()
        if not hard and not soft:
            raise ValueError(
                'Expected int64 permutations of shape (B, T-1, N) or '
                'floating-point plans of shape (B, T-1, N, N) from '
                f'{self!r}, got {matching.dtype} of shape '
                f'{tuple(matching.shape)}.'
            )

    def can_compile(self, device: torch.device, num_patches: int) -> bool:
        """Return whether torch.compile can trace the matching.

        Args:
            device (torch.device): Device of the features.
            num_patches (int): Number of patches N a frame.

        Returns:
            bool: If False, the matching runs outside the compiled graph.
            Defaults to False.
        """
        return False

    def __call__(self, similarity: Tensor, grid: Grid | None = None) -> Tensor:
        """Call `match`, as `match_pairs` does for its solves."""
        return self.match(similarity, grid)

    def options(self) -> dict[str, Any]:
        """Return the public attributes, which determine the matchings."""
        return {k: v for k, v in vars(self).items() if not k.startswith('_')}

    def key(self) -> tuple[type, dict[str, Any]]:
        """Return class and options: equal keys mean equal matchings."""
        # Not as __eq__, by which torch would drop the parameters of a matcher
        # that is a module as well: it visits equal modules once.
        return type(self), self.options()

    def __repr__(self) -> str:
        options = (f'{k}={v!r}' for k, v in self.options().items())
        return f'{type(self).__name__}({", ".join(options)})'


def concatenate(parts: Sequence[Matching]) -> Matching:
    """Join the matchings of successive frame pairs.

    Args:
        parts (Sequence[Matching]): At least one, of P_1, P_2, … frame pairs.

    Returns:
        Matching: Of P_1 + P_2 + … frame pairs.
    """
    if len(parts) == 1:
        return parts[0]  # no copy
    matchings, accepted = zip(*parts)
    if accepted[0] is None:
        return Matching(torch.cat(matchings, 1))
    return Matching(torch.cat(matchings, 1), torch.cat(accepted, 1))


class CallableMatcher(Matcher):
    """Matcher that calls a plain function of similarities.

    Args:
        function (Callable): Maps similarities (..., N, N), and ``grid=`` if a
            grid is given, to permutations or plans as `Matcher.match`.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function

    def match(self, similarity: Tensor, grid: Grid | None = None) -> Tensor:
        """Call the function.

        Args:
            similarity (Tensor): (..., N, N).
            grid (tuple[int, int], optional): Passed on unless it is None.
                Defaults to None.

        Returns:
            Tensor: The result of the function.
        """
        # A function of similarities alone works as long as no grid is given.
        if grid is None:
            return self.function(similarity)
        return self.function(similarity, grid=grid)


def as_matcher(matcher: object) -> Matcher:
    """Return a matcher unchanged, or wrap a plain callable.

    Args:
        matcher (Matcher | Callable): See :func:`~ata_mm.ops.align_frames`.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(matcher, Matcher):
        return matcher
    # A class is callable too (ExactMatcher instead of ExactMatcher()), and so
    # is a module, whose parameters a wrapper would hide from the optimizer.
    if not callable(matcher) or isinstance(matcher, (type, nn.Module)):
        raise ValueError(
            "Expected matcher='auto', a Matcher such as ExactMatcher(), or a "
            f'function of similarities, got {matcher!r}. Derive a module from '
            'ata_mm.ops.Matcher as well; other names are resolved in configs '
            'only.'
        )
    return CallableMatcher(matcher)
