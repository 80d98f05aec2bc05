# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Base class of matchers: similarity, matching, routes (Alg. 1)."""
from typing import Any, Callable, Dict, Optional, Tuple, Union

import torch
from torch import Tensor

from ..alignment import Alignment, SoftAlignment
from ..types import Grid
from ..validation import is_compiling
from .cache import MatchingCache

_MAX_SIMILARITIES = 2**26  # computed at a time: 256 MB


@torch.no_grad()
def neighbour_similarity(x: Tensor) -> Tensor:
    r"""Compute the cosine similarities of all patches of neighbouring frames.

    .. math:: S[t-1, i, j] = \frac{x_{t-1,i} \cdot x_{t,j}}
                                  {\|x_{t-1,i}\| \|x_{t,j}\|}

    Always in fp32, under any autocast: a matching compares sums of N nearly
    equal numbers. Outside autograd, as in Alg. 1.

    Args:
        x (Tensor): Patch features of shape (B, T, N, C).

    Returns:
        Tensor: fp32 similarities of shape (B, T-1, N, N).
    """
    batch, frames, num, _ = x.shape
    with torch.autocast(x.device.type, enabled=False):
        x = x.float()
        scale = 1 / torch.linalg.vector_norm(x, dim=-1).clamp_min(1e-12)
        similarity = x.new_empty(batch, frames - 1, num, num)
        # Normalising the product instead of the features saves a copy of the
        # features, which takes as long as the product itself.
        for clip, out in zip(x, similarity):
            torch.bmm(clip[:-1], clip[1:].transpose(1, 2), out=out)
        similarity *= scale[:, :-1, :, None]
        similarity *= scale[:, 1:, None, :]
    return similarity


class Matcher:
    """Match the patches of two frames.

    A matcher of your own derives from this class and overrides `match`; the
    other methods have defaults:

    - `match`: similarities of frame pairs -> matchings;
    - `match_frames`: features of a clip -> matchings of its neighbouring
      frames. Override it if the matcher needs only some similarities, or
      their gradients;
    - `follow`: matchings -> `Alignment`. Override it if the matchings are
      neither permutations nor plans;
    - `can_compile`: whether torch.compile can trace the matching.

    The constructor stores its arguments as public attributes, which make up
    the matcher's ``repr`` and equality: equal matchers compute equal matchings
    (see ``share_alignment`` of :class:`~ata_mm.models.ATA`).

    Example:
        >>> @MATCHERS.register_module()
        ... class InPlace(Matcher):
        ...     def match(self, similarity, grid=None):
        ...         return identity(*similarity.shape[:-1])
    """

    def match(self, similarity: Tensor, grid: Optional[Grid] = None) -> Tensor:
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
            f'Expected {type(self).__name__} to implement match().')

    def match_frames(self, x: Tensor, grid: Optional[Grid] = None) -> Tensor:
        """Match all neighbouring frame pairs of all clips.

        Args:
            x (Tensor): Patch features (B, T, N, C).
            grid (tuple[int, int], optional): Height and width of the patch
                grid. Defaults to None.

        Returns:
            Tensor: As `match` returns, (B, T-1, ...).
        """
        batch, frames, num, _ = x.shape
        if frames == 1:
            return x.new_empty(batch, 0, num, dtype=torch.int64)
        # A few frame pairs at a time, so that large maps fit into memory.
        step = max(1, _MAX_SIMILARITIES // (batch * num**2))
        matching = torch.cat([
            self(neighbour_similarity(x[:, i:i + step + 1]), grid)
            for i in range(0, frames - 1, step)
        ], 1)
        self._check_matching(matching, (batch, frames - 1, num))
        return matching

    def follow(self, matching: Tensor, grid: Optional[Grid]) -> Alignment:
        """Compose matchings of neighbouring frames to routes.

        Args:
            matching (Tensor): As `match_frames` returns.
            grid (tuple[int, int] | None): Height and width of the patch grid.

        Returns:
            Alignment: Of permutations an `Alignment`, of plans a
            `SoftAlignment`.
        """
        if matching.is_floating_point():
            return SoftAlignment.from_matching(matching)
        return Alignment.from_matching(matching)

    def can_compile(self, device: torch.device, num_patches: int) -> bool:
        """Return whether torch.compile can trace the matching of N patches."""
        return False

    def align(self,
              x: Tensor,
              grid: Optional[Grid] = None,
              cache: Optional[MatchingCache] = None) -> Alignment:
        """Match neighbouring frames and compose the matchings to routes.

        See :func:`~ata_mm.ops.align_frames`, which checks its arguments.
        """
        align = self._align
        if is_compiling() and not (cache is None and self.can_compile(
                x.device, x.shape[2])):
            align = torch.compiler.disable(align)  # one graph break, not many
        return align(x, grid, cache)

    def _align(self, x: Tensor, grid: Optional[Grid],
               cache: Optional[MatchingCache]) -> Alignment:

        def match(frames: Tensor) -> Tensor:
            return self.match_frames(frames, grid)

        matching = match(x) if cache is None else cache(x, match)
        return self.follow(matching, grid)

    def _check_matching(self, matching: Tensor, shape: Tuple[int, ...]) -> None:
        plans = (*shape, shape[-1])
        if not (matching.shape == shape and matching.dtype == torch.int64
                or matching.shape == plans and matching.is_floating_point()):
            raise ValueError(
                f'Expected int64 permutations of shape {shape} or '
                f'floating-point plans of shape {plans} from {self!r}, got '
                f'{matching.dtype} of shape {tuple(matching.shape)}.')

    def __call__(self,
                 similarity: Tensor,
                 grid: Optional[Grid] = None) -> Tensor:
        """Call `match`; `match_frames` goes through this."""
        return self.match(similarity, grid)

    def options(self) -> Dict[str, Any]:
        """Return the public attributes, on which the matchings depend."""
        return {k: v for k, v in vars(self).items() if not k.startswith('_')}

    def __eq__(self, other: object) -> bool:
        return (type(self) is type(other)
                and self.options() == other.options())  # type: ignore

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        options = (f'{k}={v!r}' for k, v in self.options().items())
        return f'{type(self).__name__}({", ".join(options)})'


class CallableMatcher(Matcher):
    """Wrap a plain function of similarities, and of a grid if there is one.

    Args:
        function (Callable): Maps similarities (..., N, N), and ``grid=`` where
            the caller gives one, to what `Matcher.match` returns.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function

    def match(self, similarity: Tensor, grid: Optional[Grid] = None) -> Tensor:
        """Call the function."""
        if grid is None:
            return self.function(similarity)
        return self.function(similarity, grid=grid)


def as_matcher(matcher: Union[Matcher, Callable[..., Tensor]]) -> Matcher:
    """Return a matcher as it is, and wrap a plain callable.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(matcher, Matcher):
        return matcher
    if not callable(matcher) or isinstance(matcher, type):
        raise ValueError(
            "Expected matcher='auto', a Matcher such as ExactMatcher(), or a "
            f'function of similarities, got {matcher!r}. Other names are '
            'resolved in configs only.')
    return CallableMatcher(matcher)


def build_matcher(cfg: Union[str, dict], registry: Any) -> Matcher:
    """Build a matcher from a config.

    Args:
        cfg (str | dict): Name of a registered matcher, or ``dict(type=NAME,
            ...)`` with its arguments.
        registry (Registry): :data:`ata_mm.registry.MATCHERS`. mmengine's own
            build function would search the default scope of the run
            ('mmaction') and warn that it has no matchers.

    Raises:
        ValueError: If the name is not registered.
    """
    options = dict(type=cfg) if isinstance(cfg, str) else dict(cfg or {})
    name = options.pop('type', None)
    kind = registry.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(
            'Expected matcher=NAME or dict(type=NAME, ...) with NAME one of '
            f'{sorted(registry.module_dict)}, got {cfg!r}. Register a matcher '
            'of your own with @ata_mm.registry.MATCHERS.register_module().')
    return as_matcher(kind(**options))
