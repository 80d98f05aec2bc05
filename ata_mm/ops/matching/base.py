# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Base class of matchers: similarities, matchings and routes (Alg. 1)."""

from typing import Any, Callable, Dict, Optional, Tuple, Union

import torch
from torch import Tensor, nn

from ..alignment import Alignment, SoftAlignment
from ..permutation import identity
from ..types import Grid
from ..validation import check_grid, check_patches, is_compiling
from .cache import MatchingCache

# Similarities that exist at a time: 256 MB of fp32. 32 frames of 56x56 patches
# would take 1.2 GB a clip.
_MAX_SIMILARITIES = 2**26


@torch.no_grad()
def neighbour_similarity(x: Tensor) -> Tensor:
    r"""Compute the cosine similarities of all patches of neighbouring frames.

    .. math:: S[t-1, i, j] = \frac{x_{t-1,i} \cdot x_{t,j}}
                                  {\|x_{t-1,i}\| \|x_{t,j}\|}

    Always in fp32, under any autocast: a matching compares sums of N nearly
    equal numbers. Outside autograd, as in Alg. 1 (Eq. 17).

    Args:
        x (Tensor): Patch features of shape (B, T, N, C).

    Returns:
        Tensor: fp32 similarities of shape (B, T-1, N, N), from -1 to 1; 0 for
        features of zeros, NaN for features of NaN or infinity.
    """
    batch, frames, num, _ = x.shape
    with torch.autocast(x.device.type, enabled=False):
        x = x.float()
        scale = 1 / torch.linalg.vector_norm(x, dim=-1).clamp_min(1e-12)
        similarity = x.new_empty(batch, frames - 1, num, num)
        # Normalising the product instead of the features saves a copy of the
        # features, which takes as long as the product itself. For the same
        # reason one product a clip: clip[:-1] is a view that bmm reads as it
        # is, whereas x[:, :-1] would be copied to flatten B and T.
        for clip, out in zip(x, similarity):
            torch.bmm(clip[:-1], clip[1:].transpose(1, 2), out=out)
        similarity *= scale[:, :-1, :, None]
        similarity *= scale[:, 1:, None, :]
    return similarity


class Matcher:
    """Base class of matchers, which match the patches of two frames.

    A matcher derives from this class and overrides `match`. The other methods
    have defaults:

    - `match`: similarities of frame pairs -> matchings;
    - `match_frames`: features of a clip -> matchings of its neighbouring
      frames. Override it if the matcher needs only some similarities, or
      their gradients;
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
            f'Expected {type(self).__name__} to implement match().'
        )

    def match_frames(self, x: Tensor, grid: Optional[Grid] = None) -> Tensor:
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
        batch, frames, num, _ = x.shape
        if frames == 1:  # no frame pair; the route is the identity
            return x.new_empty(batch, 0, num, dtype=torch.int64)
        # A few frame pairs at a time: large maps have to fit into memory.
        # Called as self(...): a subclass may override it to wrap every solve.
        step = max(1, _MAX_SIMILARITIES // (batch * num**2))
        return torch.cat(
            [
                self(neighbour_similarity(x[:, i : i + step + 1]), grid)
                for i in range(0, frames - 1, step)
            ],
            1,
        )

    def follow(self, matching: Tensor, grid: Optional[Grid]) -> Alignment:
        """Compose matchings of neighbouring frames to routes.

        Args:
            matching (Tensor): As `match_frames` returns.
            grid (tuple[int, int] | None): Height and width of the patch grid.

        Returns:
            Alignment: An `Alignment` of permutations, or a `SoftAlignment` of
            plans.

        Raises:
            ValueError: If the matchings are neither.
        """
        if matching.ndim == 3 and matching.dtype == torch.int64:
            return Alignment.from_matching(matching)
        square = matching.shape[-2:] == 2 * matching.shape[-1:]
        if matching.ndim == 4 and square and matching.is_floating_point():
            return SoftAlignment.from_matching(matching)
        raise ValueError(
            'Expected int64 permutations of shape (B, T-1, N) or '
            f'floating-point plans of shape (B, T-1, N, N) from {self!r}, got '
            f'{matching.dtype} of shape {tuple(matching.shape)}.'
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

    def align(
        self,
        x: Tensor,
        grid: Optional[Grid] = None,
        cache: Optional[MatchingCache] = None,
    ) -> Alignment:
        """Match neighbouring frames and compose the matchings to routes.

        Called by :func:`~ata_mm.ops.align_frames`.

        Args:
            x (Tensor): Patch features (B, T, N, C).
            grid (tuple[int, int], optional): Height and width of the patch
                grid. Defaults to None.
            cache (MatchingCache, optional): Matchings of the previous call.
                Defaults to None.

        Returns:
            Alignment: Its ``routes`` have shape (B, T, N). On the meta device,
            where values cannot be compared, the routes are the identity.

        Raises:
            ValueError: As :func:`~ata_mm.ops.align_frames`.
        """
        check_patches(x)
        if grid is not None:
            check_grid(grid, x.shape[2])
        if x.device.type == 'meta':
            return Alignment(identity(*x.shape[:3], device=x.device))
        align = self._align
        # A cache reads values of the features, which tracing cannot.
        if is_compiling() and not (
            cache is None and self.can_compile(x.device, x.shape[2])
        ):
            align = torch.compiler.disable(align)  # one graph break, not many
        return align(x, grid, cache)

    def _align(
        self, x: Tensor, grid: Optional[Grid], cache: Optional[MatchingCache]
    ) -> Alignment:

        def match(frames: Tensor) -> Tensor:
            return self.match_frames(frames, grid)

        matching = match(x) if cache is None else cache(x, match)
        alignment = self.follow(matching, grid)
        if alignment.shape != x.shape[:3]:
            raise ValueError(
                f'Expected matchings of features {tuple(x.shape)} from '
                f'{self!r}, got an alignment of {tuple(alignment.shape)}, of '
                'another number of clips, frames or patches.'
            )
        return alignment

    def __call__(
        self, similarity: Tensor, grid: Optional[Grid] = None
    ) -> Tensor:
        """Call `match`, as `match_frames` does for its solves."""
        return self.match(similarity, grid)

    def options(self) -> Dict[str, Any]:
        """Return the public attributes, which determine the matchings."""
        return {k: v for k, v in vars(self).items() if not k.startswith('_')}

    def key(self) -> Tuple[type, Dict[str, Any]]:
        """Return class and options: equal keys mean equal matchings."""
        # Not as __eq__, by which torch would drop the parameters of a matcher
        # that is a module as well: it visits equal modules once.
        return type(self), self.options()

    def __repr__(self) -> str:
        options = (f'{k}={v!r}' for k, v in self.options().items())
        return f'{type(self).__name__}({", ".join(options)})'


class CallableMatcher(Matcher):
    """Matcher that calls a plain function of similarities.

    Args:
        function (Callable): Maps similarities (..., N, N), and ``grid=`` if a
            grid is given, to permutations or plans as `Matcher.match`.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function

    def match(self, similarity: Tensor, grid: Optional[Grid] = None) -> Tensor:
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


def build_matcher(cfg: Union[str, dict], registry: Any) -> Matcher:
    """Build a matcher from a config.

    Args:
        cfg (str | dict): Name of a registered matcher, or ``dict(type=NAME,
            ...)`` with its arguments.
        registry (Registry): :data:`ata_mm.registry.MATCHERS`, which passes
            itself.

    Returns:
        Matcher: The registered class with these arguments. An instance of a
        class that does not derive from `Matcher` is wrapped as a callable.

    Raises:
        ValueError: If the name is not registered.
    """
    # mmengine's own build function would search the default scope of the run,
    # 'mmaction', and warn that it has no matchers.
    options = dict(type=cfg) if isinstance(cfg, str) else dict(cfg or {})
    name = options.pop('type', None)
    kind = registry.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(
            'Expected matcher=NAME or dict(type=NAME, ...) with NAME one of '
            f'{sorted(registry.module_dict)}, got {cfg!r}. Register your '
            'matcher with @ata_mm.registry.MATCHERS.register_module().'
        )
    return as_matcher(kind(**options))
