# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Alignment-guided Temporal Attention.

Paper: "Alignment-guided Temporal Attention for Video Action Recognition",
NeurIPS 2022, Sec. 3.3, Algorithms 1 and 2.
"""
from typing import Callable, Optional, Tuple, Union

from mmaction.registry import MODELS
from torch import Tensor

from ata_mm.ops import Alignment, MatchingCache, align_frames
from ata_mm.registry import MATCHERS
from .attention import TemporalAttention


@MODELS.register_module()
class ATA(TemporalAttention):
    r"""Temporal attention along routes of matched patches.

    The patches of neighbouring frames are matched one to one by cosine
    similarity, attention over T follows the matches, and the patches are put
    back:

    .. math:: y = x + dealign(branch(align(x)))

    No parameter and no state_dict key over :class:`TemporalAttention`; the
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
            exact, as in the paper, up to 1024 patches a frame, and nearly so
            beyond, where an exact solve takes longer than a network. Through
            'SinkhornMatcher' and 'DisplacementMatcher' gradients flow.
        match_on (str): What is compared. 'tokens': the input of this module,
            as in the paper. 'content': the input less the position and time
            embedding that the backbone added at its entrance, which otherwise
            draws matches towards the same place. Residual connections carry
            those embeddings to every depth, so the same difference serves
            deeper blocks. Backbones without such embeddings see no
            difference. Defaults to 'tokens'.
        dealign (bool): Put patches back after attention. False is the
            paper's ablation (Table 3): the stream goes on in route order,
            in which frame 0 keeps its own. Defaults to True.
        share_alignment (int | str): How many blocks in a row follow the
            routes that the first of them finds, or 'stage', all blocks of the
            same grid. Not in the paper. Defaults to 1: every block matches
            its own input.
        route_encoding (bool): See :class:`TemporalAttention`. Along a route,
            attention otherwise knows the place of a patch only as far as the
            features tell it. Defaults to False.
        init_cfg (dict, optional): As in mmengine. Defaults to None.

    Attributes:
        cache (MatchingCache | None): Spares the matchings that a window of a
            video shares with the one before;
            :class:`~ata_mm.apis.StreamRecognizer` sets it.
        aligner (Callable): What finds the routes, `align_frames`;
            :class:`~ata_mm.engine.AlignmentRecord` listens to it.

    Raises:
        ValueError: If ``match_on`` or ``share_alignment`` is unknown; if
            ``match_on`` is 'content', ``share_alignment`` is not 1 or
            ``route_encoding`` is on, while ``dealign`` is off: the next block
            could not tell the place of a patch.
    """

    def __init__(self,
                 embed_dims: int,
                 num_heads: int,
                 drop_path_rate: float = 0.,
                 num_frames: Optional[int] = None,
                 zero_init: bool = True,
                 time_bias_std: Optional[float] = None,
                 matcher: Union[str, dict] = 'auto',
                 match_on: str = 'tokens',
                 dealign: bool = True,
                 share_alignment: Union[int, str] = 1,
                 route_encoding: bool = False,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(embed_dims, num_heads, drop_path_rate, num_frames,
                         zero_init, time_bias_std, route_encoding, init_cfg)
        if match_on not in ('tokens', 'content'):
            raise ValueError("Expected match_on='tokens' or "
                             f"match_on='content', got {match_on!r}.")
        if match_on == 'content' and not dealign:
            raise ValueError(
                "match_on='content' takes the position embedding out of each "
                'patch, which needs the patches in their own order. Use '
                "dealign=True, or match_on='tokens' with dealign=False.")
        if route_encoding and not dealign:
            raise ValueError(
                'route_encoding=True codes the place of each patch, which '
                'needs the patches in their own order. Use dealign=True, or '
                'route_encoding=False with dealign=False.')
        _check_sharing(share_alignment, dealign)
        self.share_alignment = share_alignment
        self.matcher = MATCHERS.build(matcher)
        self.match_on = match_on
        self.dealign = dealign
        self.cache: Optional[MatchingCache] = None
        self.aligner: Callable[..., Alignment] = align_frames

    def compared(self, x: Tensor, position: Optional[Tensor] = None) -> Tensor:
        """The features that are matched, (B, T, N, C), as ``match_on`` says;
        arguments as of ``forward``."""
        if self.match_on == 'content' and position is not None:
            return x - position
        return x

    def alignment(self,
                  x: Tensor,
                  position: Optional[Tensor] = None,
                  grid: Optional[Tuple[int, int]] = None) -> Alignment:
        """The routes that ``forward`` takes for the same arguments."""
        x = self.compared(x, position)
        return self.aligner(x, self.matcher, grid, self.cache)

    def forward(self,
                x: Tensor,
                position: Optional[Tensor] = None,
                grid: Optional[Tuple[int, int]] = None,
                alignment: Optional[Alignment] = None) -> Tensor:
        """Let the frames exchange what they have along each route.

        Args:
            x (Tensor): Patch features (B, T, N, C), no class token.
            position (Tensor, optional): The position and time embedding
                contained in x, broadcastable to x. Defaults to None.
            grid (tuple[int, int], optional): Height and width of the patch
                grid, for ``route_encoding`` and for matchers that use it.
                Defaults to None.
            alignment (Alignment, optional): The routes to take. Defaults to
                None, those of `alignment`.

        Returns:
            Tensor: (B, T, N, C); in route order if ``dealign`` is off.
        """
        if alignment is None:
            alignment = self.alignment(x, position, grid)
        aligned = alignment.align(x)
        code = self.route_code(x, grid, alignment.align)
        if not self.dealign:
            return aligned + self.branch(aligned, code)
        # The residual stays in the frames' own order: the same sum as
        # aligning and de-aligning the whole stream, with less memory moved.
        return x + alignment.dealign(self.branch(aligned, code))


def _check_sharing(share_alignment: Union[int, str], dealign: bool) -> None:
    if share_alignment != 'stage' and (not isinstance(share_alignment, int)
                                       or share_alignment < 1):
        raise ValueError("Expected share_alignment='stage' or a number of "
                         f'blocks from 1, got {share_alignment!r}.')
    if share_alignment != 1 and not dealign:
        raise ValueError(
            'share_alignment hands routes on to the next blocks, which need '
            'the patches in their own order. Use dealign=True, or '
            'share_alignment=1 with dealign=False.')
