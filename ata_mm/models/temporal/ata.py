# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Alignment-guided Temporal Attention.

Paper: "Alignment-guided Temporal Attention for Video Action Recognition",
NeurIPS 2022, Sec. 3.3, Algorithms 1 and 2.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmaction.registry import MODELS
from torch import Tensor, nn

from ata_mm.ops import Alignment, Matcher, MatchingCache, align_frames
from ata_mm.ops.align import check_options
from ata_mm.ops.types import Grid
from ata_mm.ops.validation import is_count
from ata_mm.registry import MATCHERS

from .attention import TemporalAttention


class Aligner(nn.Module):
    """Align clips with a matcher.

    A module without parameters, whose input and output forward hooks can
    observe (see :mod:`ata_mm.introspection`).

    Args:
        matcher (Matcher): The matcher.
        **options: ``reference``, ``refine``, ``min_similarity`` and
            ``support_radius`` of :func:`~ata_mm.ops.align_frames`.

    Attributes:
        cache (MatchingCache | None): Reuses matchings of the previous call;
            :class:`~ata_mm.apis.StreamRecognizer` sets it.

    Raises:
        ValueError: If an option is out of range.
    """

    def __init__(self, matcher: Matcher, **options: Any) -> None:
        super().__init__()
        check_options(**options)
        self.matcher = matcher
        self.options = options
        self.cache: MatchingCache | None = None

    def forward(self, x: Tensor, grid: Grid | None = None) -> Alignment:
        """Align patch features (B, T, N, C)."""
        return align_frames(x, self.matcher, grid, self.cache, **self.options)

    def key(self) -> object:
        """Return what determines an alignment, apart from its input."""
        return self.matcher.key(), self.options

    def extra_repr(self) -> str:
        """Return the matcher and the options for the module's ``repr``."""
        options = [f'{name}={value!r}' for name, value in self.options.items()]
        return ', '.join([repr(self.matcher), *options])


@MODELS.register_module()
class ATA(TemporalAttention):
    r"""Temporal attention along routes of matched patches (Sec. 3.3).

    The patches of neighbouring frames are matched one to one by cosine
    similarity, attention over T follows the matches, and the result is put
    back into the order of the frames:

    .. math:: y = x + dealign(branch(align(x)))

    Adds no parameter and no state_dict key to :class:`TemporalAttention`; the
    weights of one load into the other.

    Args:
        embed_dims (int): Channels C.
        num_heads (int): Number of heads.
        drop_path_rate (float): Rate of stochastic depth. Defaults to 0.
        num_frames (int, optional): See :class:`TemporalAttention`. Defaults
            to None.
        zero_init (bool): See :class:`TemporalAttention`. Defaults to True.
        time_bias_std (float, optional): See :class:`TemporalAttention`.
            Defaults to None.
        matcher (str | dict | Matcher): Name or config of a matcher in
            ``ata_mm.registry.MATCHERS``. Defaults to 'auto', `AutoMatcher`:
            exact, as in the paper, up to 1024 patches a frame (on a GPU 400),
            and nearly optimal beyond, where an exact solve takes longer than a
            network.
            'SinkhornMatcher' and 'DisplacementMatcher' are differentiable.
        match_on (str): The features compared by the matching. 'tokens': the
            input of this module, as in the paper. 'content': the input minus
            the position and time embedding that the backbone added at its
            entrance, which otherwise draws matches towards the same position.
            Residual connections carry those embeddings to every depth: deeper
            blocks subtract the same. Of `ATATimeSformer`; no difference for
            backbones without such embeddings. Defaults to 'tokens'.
        dealign (bool): Restore the order of the patches after attention. False
            is the paper's ablation (Table 3): the stream continues in route
            order, in which frame 0 keeps its own. Defaults to True.
        share_alignment (int | str): Number of consecutive blocks that follow
            the routes of the first of them, or 'stage', all blocks of the same
            grid. Not in the paper. Defaults to 1: every block matches its own
            input.
        route_encoding (bool): See :class:`TemporalAttention`. Without it,
            attention along a route knows the position of a patch only from the
            features. Defaults to False.
        reference (str | int): The frame that each frame is matched to; see
            :func:`~ata_mm.ops.align_frames`, as for the next three.
            'first-or-previous' needs ``min_similarity`` and a one-to-one
            matcher. Defaults to 'previous', as in the paper.
        refine (int): Number of times that every frame is matched again, to
            what its routes show in the other frames. Defaults to 0.
        min_similarity (float, optional): Matches that are not more similar are
            rejected: attention does not cross them. Defaults to None.
        support_radius (int): Patches are compared together with their
            neighbours up to this distance. Defaults to 0.
        route_heads (int, optional): Number of heads that attend along the
            routes, the first ones; the others stay at their position. They see
            motion within a patch, which no route follows. Query, key and value
            are computed once, in the order of the frames: soft matchers mix
            them after LayerNorm, stochastic depth is drawn per position, and
            ``route_encoding`` reaches all heads. Not in the paper. Defaults to
            None, all heads, as in the paper.
        time_bias_slopes (Sequence[float], optional): See
            :class:`TemporalAttention`. Defaults to None.
        init_cfg (dict, optional): As in mmengine. Defaults to None.

    Attributes:
        aligner (Aligner): Aligns the features that are matched.

    Raises:
        ValueError: If ``match_on`` or ``share_alignment`` is unknown, or
            another option out of range; if ``match_on`` is 'content',
            ``share_alignment`` is not 1, or ``route_encoding`` or
            ``route_heads`` is on, while ``dealign`` is off: the next block
            would not know the positions of the patches.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        drop_path_rate: float = 0.0,
        num_frames: int | None = None,
        zero_init: bool = True,
        time_bias_std: float | None = None,
        matcher: str | dict | Matcher = 'auto',
        match_on: str = 'tokens',
        dealign: bool = True,
        share_alignment: int | str = 1,
        route_encoding: bool = False,
        reference: str | int = 'previous',
        refine: int = 0,
        min_similarity: float | None = None,
        support_radius: int = 0,
        route_heads: int | None = None,
        time_bias_slopes: Sequence[float] | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(
            embed_dims,
            num_heads,
            drop_path_rate,
            num_frames,
            zero_init,
            time_bias_std,
            route_encoding,
            time_bias_slopes,
            init_cfg,
        )
        if match_on not in ('tokens', 'content'):
            raise ValueError(
                "Expected match_on='tokens' or "
                f"match_on='content', got {match_on!r}."
            )
        if share_alignment != 'stage' and not is_count(share_alignment, 1):
            raise ValueError(
                "Expected share_alignment='stage' or a number of "
                f'blocks from 1, got {share_alignment!r}.'
            )
        if route_heads is not None and not (
            is_count(route_heads, 1) and route_heads <= num_heads
        ):
            raise ValueError(
                f'Expected route_heads=None or a number from 1 to num_heads='
                f'{num_heads}, got {route_heads!r}. For none, use '
                'TemporalAttention.'
            )
        if not dealign:
            _check_order(
                match_on, route_encoding, share_alignment, route_heads
            )
        self.share_alignment = share_alignment
        self.aligner = Aligner(
            MATCHERS.build(matcher),
            reference=reference,
            refine=refine,
            min_similarity=min_similarity,
            support_radius=support_radius,
        )
        self.route_heads = route_heads
        self.match_on = match_on
        self.dealign = dealign

    @property
    def matcher(self) -> Matcher:
        """Return the matcher."""
        return self.aligner.matcher

    def matched_features(
        self, x: Tensor, position: Tensor | None = None
    ) -> Tensor:
        """Return x, or its content; see ``match_on``: (B, T, N, C)."""
        # The embedding was added to x once, at the entrance of the backbone,
        # and the residual connections have kept it since.
        if self.match_on == 'content' and position is not None:
            return x - position
        return x

    def alignment(
        self,
        x: Tensor,
        position: Tensor | None = None,
        grid: Grid | None = None,
    ) -> Alignment:
        """Return the alignment that `forward` uses for the same arguments."""
        return self.aligner(self.matched_features(x, position), grid)

    def alignment_key(self) -> object:
        """Return all that `alignment` depends on, apart from its input."""
        return type(self), self.match_on, self.aligner.key()

    def forward(
        self,
        x: Tensor,
        position: Tensor | None = None,
        grid: Grid | None = None,
        alignment: Alignment | None = None,
    ) -> Tensor:
        """Temporal self-attention along each route (Sec. 3.3).

        Args:
            x (Tensor): Patch features (B, T, N, C), without class token.
            position (Tensor, optional): Position and time embedding contained
                in x, broadcastable to x. Defaults to None.
            grid (tuple[int, int], optional): Height and width of the patch
                grid, for ``route_encoding`` and for matchers that need it.
                Defaults to None.
            alignment (Alignment, optional): The alignment to use. Defaults to
                None, that of `alignment`.

        Returns:
            Tensor: (B, T, N, C); in route order if ``dealign`` is False.
        """
        if alignment is None:
            alignment = self.alignment(x, position, grid)
        encoding = self.encode_routes(x, grid, alignment.align)
        if self.route_heads is not None:
            return x + self._branch_by_heads(x, alignment, encoding)
        aligned = alignment.align(x)
        branch = self.branch(aligned, encoding, alignment.segments)
        if not self.dealign:
            return aligned + branch
        # The residual keeps the order of the frames: the same sum as aligning
        # and de-aligning the whole stream, with less memory traffic.
        return x + alignment.dealign(branch)

    def _branch_by_heads(
        self, x: Tensor, alignment: Alignment, encoding: Tensor | None
    ) -> Tensor:
        """Compute the branch with some heads along the routes."""
        self._check_frames(x)
        if encoding is not None:
            encoding = alignment.dealign(encoding)
        qkv = self.attn.project(self._encode(self.norm(x), encoding))
        routed = qkv[..., : self.route_heads, :]  # (B, T, N, 3, heads, d)
        aligned = alignment.align(routed.flatten(3)).view(routed.shape)
        along = self.attn.attend(
            aligned,
            dim=1,
            bias=self.logit_bias(alignment.segments, slice(self.route_heads)),
        )
        out = alignment.dealign(along)
        if self.route_heads != self.attn.num_heads:
            rest = slice(self.route_heads, None)
            in_place = self.attn.attend(
                qkv[..., rest, :], dim=1, bias=self.logit_bias(heads=rest)
            )
            out = torch.cat([out, in_place], -1)
        return self.temporal_fc(self._drop_positions(self.attn.proj(out)))


def _check_order(
    match_on: str,
    route_encoding: bool,
    share_alignment: int | str,
    route_heads: int | None,
) -> None:
    """Raise if an option needs the order that de-alignment restores."""
    for is_on, option, reason, remedy in (
        (
            match_on == 'content',
            "match_on='content'",
            'subtracts the position embedding of each patch',
            "match_on='tokens'",
        ),
        (
            route_encoding,
            'route_encoding=True',
            'encodes the position of each patch',
            'route_encoding=False',
        ),
        (
            share_alignment != 1,
            f'share_alignment={share_alignment!r}',
            'follows the same routes in the next blocks',
            'share_alignment=1',
        ),
        (
            route_heads is not None,
            f'route_heads={route_heads}',
            'keeps the other heads at their position',
            'route_heads=None',
        ),
    ):
        if is_on:
            raise ValueError(
                f'Expected dealign=True with {option}, which {reason} and '
                'needs the patches in the order of the frame, got '
                f'dealign=False. Use {remedy} with dealign=False.'
            )
