# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""ATA on the last feature map of any backbone."""

from collections.abc import Sequence

from mmaction.registry import MODELS
from mmaction.utils import OptSampleList
from mmengine.model import BaseModule, ModuleList
from torch import Tensor

from ata_mm.ops.validation import check_counts

from ..temporal import AlignmentSharing, build_temporal_layer, merge_default


@MODELS.register_module()
class ATANeck(BaseModule):
    r"""Temporal modules on the last feature map of a backbone.

    .. math:: x \leftarrow temporal_k(x), \quad k = 1 .. num\_blocks

    One line adds it to a recipe of MMAction2, with a Recognizer3D or, by means
    of :mod:`ata_mm.compat.recognizer2d_neck`, a Recognizer2D::

        model = dict(
            neck=dict(type='ATANeck', embed_dims=2048, num_segments=8))

    Every frame keeps its feature map, and the head averages the frames as it
    does without a neck. The blocks start as the identity (``zero_init`` of
    :class:`TemporalAttention`): at the first step a trained head receives the
    features that it was trained on. The blocks learn nevertheless, since the
    gradient of ``temporal_fc`` does not vanish where its weights are zero.

    Attention treats the frames as a set: without an encoding of routes or
    time, a clip played backwards has the same score. ``route_encoding`` is
    therefore on by default here, where no recipe of the paper is reproduced.

    Recognizer2D pools the features of timm and torchvision models to one patch
    per frame, which leaves nothing to match; use `ATABackbone` for those.

    Args:
        embed_dims (int): Channels C of the backbone's last feature map.
        num_segments (int, optional): Frames per clip, T: ``num_clips`` of
            ``SampleFrames`` for a Recognizer2D, which requires it. More frames
            are several clips (crops, samples) one after the other, as
            MMAction2's pipelines order them. Defaults to None, all frames in
            one clip, for a Recognizer3D.
        num_blocks (int): Number of temporal modules. Defaults to 1.
        temporal (dict): The temporal module; without ``type``, options that
            change the default. Defaults to
            ``dict(type='ATA', route_encoding=True)``.
        head_dims (int): Channels per attention head. Defaults to 32.
        drop_path_rate (float): Rate of stochastic depth. Defaults to 0.
        init_cfg (dict, optional): As in mmengine. Defaults to None.

    Raises:
        ValueError: If ``head_dims`` does not divide ``embed_dims``, the
            temporal module is not a layer, or ``embed_dims``,
            ``num_segments`` or ``num_blocks`` is not an integer of at least 1.
    """

    # Read by the Recognizer2D shim: the output has one map for each frame.
    keeps_frames = True

    def __init__(
        self,
        embed_dims: int,
        num_segments: int | None = None,
        num_blocks: int = 1,
        temporal: dict | None = None,
        head_dims: int = 32,
        drop_path_rate: float = 0.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_counts(embed_dims=embed_dims, num_blocks=num_blocks)
        if num_segments is not None:
            check_counts(num_segments=num_segments)
        self.embed_dims = embed_dims
        self.num_segments = num_segments
        temporal = merge_default(temporal, type='ATA', route_encoding=True)
        self.blocks = ModuleList(
            build_temporal_layer(
                temporal, embed_dims, head_dims, num_segments, drop_path_rate
            )
            for _ in range(num_blocks)
        )

    def forward(
        self,
        x: Tensor | Sequence[Tensor],
        data_samples: OptSampleList = None,
    ) -> tuple[Tensor, dict]:
        """Mix the frames of each clip.

        Args:
            x (Tensor | Sequence[Tensor]): Feature maps (B, C, V, H, W) of V
                frames, a multiple of T; of several stages, the last is used.
            data_samples (list, optional): Not used; part of the signature of
                necks in MMAction2. Defaults to None.

        Returns:
            tuple[Tensor, dict]: Feature maps (B, C, V, H, W), and an empty
            dict of auxiliary losses.

        Raises:
            ValueError: If the feature maps have another shape.
        """
        x = x if isinstance(x, Tensor) else x[-1]
        self._check_input(x)
        frames = self.num_segments or x.shape[2]
        clips = x.unflatten(2, (-1, frames)).transpose(1, 2).flatten(0, 1)
        tokens = clips.flatten(3).permute(0, 2, 3, 1)  # (B*V/T, T, N, C)
        tokens = tokens.contiguous()  # once, instead of in every block
        grid, sharing = (x.shape[3], x.shape[4]), AlignmentSharing()
        for block in self.blocks:
            alignment = sharing(block, tokens, None, grid)
            tokens = block(tokens, None, grid, alignment)
        tokens = tokens.reshape(x.shape[0], x.shape[2], -1, self.embed_dims)
        maps = tokens.permute(0, 3, 1, 2).contiguous()  # (B, C, V, N)
        return maps.view(x.shape), dict()

    def _check_input(self, x: object) -> None:
        # Backbones like MViT return patches and a class token per stage.
        shape = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        if len(shape) != 5 or shape[1] != self.embed_dims:
            raise ValueError(
                f'Expected feature maps (B, {self.embed_dims}, frames, height,'
                f' width) = (B, embed_dims, ...), got {shape}. Set embed_dims '
                "of ATANeck to the channels of the backbone's last feature "
                'map, and remove the neck if the backbone returns vectors.'
            )
        if self.num_segments and shape[2] % self.num_segments:
            raise ValueError(
                f'Expected a multiple of num_segments={self.num_segments} '
                f'frames per video, got {shape[2]} (of all crops and samples).'
                ' Set num_clips of SampleFrames in the pipeline of this run '
                'and num_segments of ATANeck to the same number.'
            )
