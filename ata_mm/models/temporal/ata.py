# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Alignment-guided Temporal Attention.

Paper: "Alignment-guided Temporal Attention for Video Action Recognition",
NeurIPS 2022, Sec. 3.3, Algorithms 1 and 2.
"""

from typing import Optional, Union

from mmaction.registry import MODELS
from torch import Tensor, nn

from ata_mm.ops import Alignment, Matcher, MatchingCache
from ata_mm.ops.types import Grid
from ata_mm.registry import MATCHERS

from .attention import TemporalAttention


class Aligner(nn.Module):
    """Align clips with a matcher.

    A module without parameters, whose input and output forward hooks can
    observe (see :mod:`ata_mm.introspection`).

    Args:
        matcher (Matcher): The matcher.

    Attributes:
        cache (MatchingCache | None): Reuses matchings of the previous call;
            :class:`~ata_mm.apis.StreamRecognizer` sets it.
    """

    def __init__(self, matcher: Matcher) -> None:
        super().__init__()
        self.matcher = matcher
        self.cache: Optional[MatchingCache] = None

    def forward(self, x: Tensor, grid: Optional[Grid] = None) -> Alignment:
        """Align patch features (B, T, N, C)."""
        return self.matcher.align(x, grid, self.cache)

    def extra_repr(self) -> str:
        """Return the matcher for the module's ``repr``."""
        return repr(self.matcher)


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
        matcher (str | dict): Name or config of a matcher in
            ``ata_mm.registry.MATCHERS``. Defaults to 'auto', `AutoMatcher`:
            exact, as in the paper, up to 1024 patches a frame, and nearly
            optimal beyond, where an exact solve takes longer than a network.
            'SinkhornMatcher' and 'DisplacementMatcher' are differentiable.
        match_on (str): The features compared by the matching. 'tokens': the
            input of this module, as in the paper. 'content': the input minus
            the position and time embedding that the backbone added at its
            entrance, which otherwise draws matches towards the same position.
            Residual connections carry those embeddings to every depth: deeper
            blocks subtract the same. No difference for backbones
            without such embeddings. Defaults to 'tokens'.
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
        init_cfg (dict, optional): As in mmengine. Defaults to None.

    Attributes:
        aligner (Aligner): Aligns the features that are matched.

    Raises:
        ValueError: If ``match_on`` or ``share_alignment`` is unknown; if
            ``match_on`` is 'content', ``share_alignment`` is not 1 or
            ``route_encoding`` is on, while ``dealign`` is off: the next block
            would not know the positions of the patches.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        drop_path_rate: float = 0.0,
        num_frames: Optional[int] = None,
        zero_init: bool = True,
        time_bias_std: Optional[float] = None,
        matcher: Union[str, dict] = 'auto',
        match_on: str = 'tokens',
        dealign: bool = True,
        share_alignment: Union[int, str] = 1,
        route_encoding: bool = False,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(
            embed_dims,
            num_heads,
            drop_path_rate,
            num_frames,
            zero_init,
            time_bias_std,
            route_encoding,
            init_cfg,
        )
        if match_on not in ('tokens', 'content'):
            raise ValueError(
                "Expected match_on='tokens' or "
                f"match_on='content', got {match_on!r}."
            )
        if match_on == 'content' and not dealign:
            raise ValueError(
                "Expected dealign=True with match_on='content', which "
                'subtracts the position embedding of each patch and needs the '
                'patches in the order of the frame, got dealign=False. Use '
                "match_on='tokens' with dealign=False."
            )
        if route_encoding and not dealign:
            raise ValueError(
                'Expected dealign=True with route_encoding=True, which '
                'encodes the position of each patch and needs the patches in '
                'the order of the frame, got dealign=False. Use '
                'route_encoding=False with dealign=False.'
            )
        _check_sharing(share_alignment, dealign)
        self.share_alignment = share_alignment
        self.aligner = Aligner(MATCHERS.build(matcher))
        self.match_on = match_on
        self.dealign = dealign

    @property
    def matcher(self) -> Matcher:
        """Return the matcher."""
        return self.aligner.matcher

    def matched_features(
        self, x: Tensor, position: Optional[Tensor] = None
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
        position: Optional[Tensor] = None,
        grid: Optional[Grid] = None,
    ) -> Alignment:
        """Return the alignment that `forward` uses for the same arguments."""
        return self.aligner(self.matched_features(x, position), grid)

    def alignment_key(self) -> object:
        """Return all that `alignment` depends on, apart from its input."""
        return type(self), self.match_on, self.matcher.key()

    def forward(
        self,
        x: Tensor,
        position: Optional[Tensor] = None,
        grid: Optional[Grid] = None,
        alignment: Optional[Alignment] = None,
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
        aligned = alignment.align(x)
        encoding = self.encode_routes(x, grid, alignment.align)
        if not self.dealign:
            return aligned + self.branch(aligned, encoding)
        # The residual keeps the order of the frames: the same sum as aligning
        # and de-aligning the whole stream, with less memory traffic.
        return x + alignment.dealign(self.branch(aligned, encoding))


def _check_sharing(share_alignment: Union[int, str], dealign: bool) -> None:
    if share_alignment != 'stage' and (
        not isinstance(share_alignment, int) or share_alignment < 1
    ):
        raise ValueError(
            "Expected share_alignment='stage' or a number of "
            f'blocks from 1, got {share_alignment!r}.'
        )
    if share_alignment != 1 and not dealign:
        raise ValueError(
            f'Expected dealign=True with share_alignment={share_alignment!r}, '
            'which reuses routes in the next blocks and needs the patches in '
            'the order of the frame, got dealign=False. Use share_alignment=1 '
            'with dealign=False.'
        )
