# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Any image backbone as a video backbone, with ATA before its blocks.

Paper: "Alignment-guided Temporal Attention for Video Action Recognition",
NeurIPS 2022, Sec. 3.3 and 4.3: "a general plug-in for image backbones".
"""

import logging
import threading
from collections.abc import Sequence

import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import ModuleList
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ata_mm.ops import DisplacementMatcher
from ata_mm.ops.validation import check_counts

from ...layouts import Layout
from ...options import drop_path_rates, read_img_size
from ...temporal import (
    ATA,
    AlignmentSharing,
    TemporalModule,
    build_temporal_layer,
    merge_default,
)
from ..base import VideoBackbone, check_clips, chosen_blocks
from .dry_run import (
    dry_run,
    find_blocks,
    find_layouts,
    find_output_layout,
    last_feature,
    map_first_tensor,
    patterns_of,
    unused_parameters,
)
from .image_builder import build_image_backbone

# Patches a frame, 56 x 56; an example of the next size is 112 x 112.
_LARGE_MAP = 3136


class ForwardPass(threading.local):
    """What the hooks share in a forward pass of the model, in each thread.

    Attributes:
        sharing (AlignmentSharing): That of the forward pass.
    """

    def __init__(self) -> None:
        self.sharing = AlignmentSharing()

    def __reduce__(self) -> tuple:
        # Copies of a model start without an alignment, whose graph of autograd
        # cannot be copied.
        return type(self), ()


class TemporalHook:
    """Forward pre-hook that applies a temporal module before an image block.

    Args:
        temporal (Sequence[TemporalModule]): The ModuleList of all temporal
            modules. The hook looks its module up at each call, since wrappers
            such as FSDP replace modules in the list.
        index (int): Index of the module of this block.
        layout (Layout): Layout of the block's input.
        num_frames (int): Frames per clip, T.
        with_cp (bool): Recompute the temporal module in the backward pass.
        forward_pass (ForwardPass): That of the model, common to all hooks:
            the image model calls them, and cannot pass them anything.
        first (bool): Whether a forward pass starts with this hook.
    """

    def __init__(
        self,
        temporal: Sequence[TemporalModule],
        index: int,
        layout: Layout,
        num_frames: int,
        with_cp: bool,
        forward_pass: ForwardPass,
        first: bool,
    ) -> None:
        self.temporal = temporal
        self.index = index
        self.layout = layout
        self.num_frames = num_frames
        self.with_cp = with_cp
        self.forward_pass = forward_pass
        self.first = first

    def __call__(
        self, block: nn.Module, args: tuple, kwargs: dict
    ) -> tuple[tuple, dict]:
        """Replace the features in the block's arguments."""
        return map_first_tensor(self.mix_frames, args, kwargs)

    def mix_frames(self, x: Tensor) -> Tensor:
        """Mix the frames of each clip.

        Args:
            x (Tensor): Features of B*T frames in the block's layout.

        Returns:
            Tensor: Same shape.
        """
        module = self.temporal[self.index]
        patches, grid = self.layout.split(x, self.num_frames)
        if self.first:  # also if the image model is called by itself
            self.forward_pass.sharing = AlignmentSharing()
        # Outside of `checkpoint`, which would solve the matching twice.
        sharing = self.forward_pass.sharing
        alignment = sharing(module, patches, None, grid)
        inputs = patches, None, grid, alignment
        if self.with_cp and module.training:
            patches = checkpoint(module, *inputs, use_reentrant=False)
        else:
            patches = module(*inputs)
        return self.layout.merge(patches, x)


@MODELS.register_module()
class ATABackbone(VideoBackbone):
    """Image model on frames, with a temporal module before its blocks.

    The image model is built from its config and left unchanged: the submodule
    ``image`` has the parameter names of its checkpoints, and forward pre-hooks
    of the chosen blocks call the temporal modules in the ModuleList
    ``temporal``. Class and register tokens in a block's input bypass the
    temporal module: each frame keeps its own.

    The constructor runs the model on one image of ``img_size`` to find the
    layouts of its features. Parameters that the features do not depend on,
    such as a norm of the classifier in timm, are frozen and named in the log:
    trainable, they would stop distributed training.

    Args:
        image_backbone (dict): Config of an image model of MMAction2 or ata_mm,
            or, with the prefix ``mmpretrain.``, ``timm.`` or ``torchvision.``
            of its type, of another package. See
            :func:`~ata_mm.models.backbones.wrapper.image_builder.build_image_backbone`.
        blocks (str | Sequence[str]): Names of the modules to insert before,
            as in ``image.named_modules()``, or patterns of them, compared
            segment by segment as in :mod:`fnmatch`: 'layer*.*' for a ResNet.
        num_frames (int): Frames per clip, T.
        layout (str | dict): Layout of the blocks' input: 'NCHW', 'NHWC',
            'NLC', or ``dict(kind='NLC', prefix_tokens=P)`` with P tokens that
            are not patches. Defaults to 'auto', inferred.
        img_size (int | tuple[int, int]): Height and width in pixels. Models
            whose features are maps accept other sizes too. Defaults to 224.
        temporal (dict): The temporal module; without ``type``, options that
            change the default. Defaults to
            ``dict(type='ATA', route_encoding=True)``, since the features of
            few image models contain the position of a patch.
        temporal_blocks (str | Sequence[int]): Blocks that get ``temporal``:
            'all', or their indices among those that ``blocks`` matches.
            Defaults to 'all'.
        other_temporal (dict): The temporal module of the other blocks.
            Defaults to ``dict(type='TemporalAttention')``, as in Tables 5
            and 7, with the ``route_encoding`` of ``temporal``.
        head_dims (int): Channels per head of temporal attention; a block of
            C channels has C / head_dims heads. Defaults to 32; the error of a
            number that does not fit lists those that do.
        drop_path_rate (float): Stochastic depth of the last temporal module,
            growing linearly from 0 at the first. Defaults to 0.
        output (str): 'map', the patches; or 'cls_token', the first of the
            prefix tokens, as a map of one patch. Defaults to 'map'.
        with_cp (bool): Recompute the temporal modules in the backward pass to
            save memory. The image model has its own options for its blocks.
            Defaults to False.
        freeze_image (bool): Keep the weights of the image model and the
            statistics of its norms, and train the temporal modules alone.
            Layers before the first of them need no backward pass. Defaults to
            False; some models of MMAction2 have ``frozen_stages`` instead.
        channels_last (bool): Keep the weights and feature maps of the image
            model in the memory order NHWC, in which convolutions take less
            time. Models that call ``Tensor.view`` on their maps fail with it.
            Defaults to False.
        pretrained (str, optional): Path or URL for :func:`load_pretrained`;
            short for ``init_cfg=dict(type='Pretrained', checkpoint=...)``.
            Defaults to None.
        init_cfg (dict, optional): As in mmengine. Defaults to None.

    Raises:
        ImportError: If the image model's package is not installed.
        ValueError: If no module matches ``blocks``, the input of one is not a
            feature map or its layout is ambiguous, head_dims does not divide
            its channels, or an option is not one of the above.
    """

    def __init__(
        self,
        image_backbone: dict,
        blocks: str | Sequence[str],
        num_frames: int,
        layout: str | dict = 'auto',
        img_size: int | tuple[int, int] = 224,
        temporal: dict | None = None,
        temporal_blocks: str | Sequence[int] = 'all',
        other_temporal: dict | None = None,
        head_dims: int = 32,
        drop_path_rate: float = 0.0,
        output: str = 'map',
        with_cp: bool = False,
        freeze_image: bool = False,
        channels_last: bool = False,
        pretrained: str | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(pretrained, init_cfg)
        if output not in ('map', 'cls_token'):
            raise ValueError(
                f"Expected output='map' or output='cls_token', got {output!r}."
            )
        check_counts(num_frames=num_frames)
        self.num_frames = num_frames
        self.img_size = read_img_size(img_size)
        self.output = output
        # The name of a method: a bound method would belong to the old model
        # after `image` has been replaced.
        self.image, self.method = build_image_backbone(image_backbone)
        self._inspect_image(blocks, layout)
        self.freeze_image = freeze_image
        if freeze_image:
            self.image.requires_grad_(False).eval()
        if channels_last:
            # Convolutions return the memory format of their weights.
            order = torch.channels_last
            self.image.to(memory_format=order)  # type: ignore[call-overload]

        num_blocks = len(self.layouts)
        chosen = chosen_blocks(temporal_blocks, num_blocks)
        temporal = merge_default(temporal, type='ATA', route_encoding=True)
        is_config = isinstance(temporal, (dict, Config))
        encodes = is_config and temporal.get('route_encoding', False)
        other_temporal = merge_default(
            other_temporal, type='TemporalAttention', route_encoding=encodes
        )
        rates = drop_path_rates(drop_path_rate, num_blocks)
        channels = [one.channels for one in self.layouts]
        self.temporal = ModuleList(
            build_temporal_layer(
                temporal if i in chosen else other_temporal,
                channels[i],
                head_dims,
                num_frames,
                rates[i],
                channels,
            )
            for i in range(num_blocks)
        )
        self._check_matched_features()
        self.forward_pass = ForwardPass()
        self._register_hooks(with_cp)
        self._warn_of_large_maps()

    def _inspect_image(
        self, blocks: str | Sequence[str], layout: str | dict
    ) -> None:
        """Find blocks and layouts, and freeze the unused parameters."""
        run = dry_run(self.image, self._features, self.img_size)
        self.block_names = find_blocks(self.image, blocks, run)
        self.layouts = find_layouts(self.block_names, run, layout)
        # Names of the modules of the image model, for learning rates by layer.
        self.call_order = list(run.shapes)
        self.output_layout = find_output_layout(run, layout)
        self._check_output()
        # The grid that position embeddings of checkpoints are resized to, of
        # tokens: the model may return them as a map, or one of them.
        layouts = self.output_layout, *self.layouts
        grids = [one.grid for one in layouts if one.kind == 'NLC']
        self.grid = grids[0] if grids else None
        # Tokens do not show their grid, which is known only for img_size.
        kinds = {one.kind for one in (*self.layouts, self.output_layout)}
        self.any_size = 'NLC' not in kinds
        _freeze(self.image, unused_parameters(self.image, run.output))

    def _warn_of_large_maps(self) -> None:
        """Warn of maps whose matching takes seconds a frame pair."""
        sizes = {
            name: layout.grid[0] * layout.grid[1]
            for name, layout, module in zip(
                self.block_names, self.layouts, self.temporal
            )
            if isinstance(module, ATA)
            and not isinstance(module.matcher, DisplacementMatcher)
        }
        large = {n: size for n, size in sizes.items() if size > _LARGE_MAP}
        if large:
            others = [name for name in self.block_names if name not in large]
            advice = (
                f'leave them out: blocks={patterns_of(others, self.image)}'
                if others
                else 'use a smaller img_size'
            )
            print_log(
                f'Up to {max(large.values())} patches a frame are matched '
                f'before {", ".join(large)}, which takes seconds a frame pair '
                f'on a CPU. To train faster, {advice}.',
                logger='current',
                level=logging.WARNING,
            )

    def _check_output(self) -> None:
        if self.output == 'cls_token' and not self.output_layout.prefix_tokens:
            raise ValueError(
                'Expected an image backbone that returns a class token with '
                "its patches for output='cls_token', got features in "
                f"{self.output_layout}. Use output='map'."
            )

    def _check_matched_features(self) -> None:
        """Raise if a position embedding would be subtracted, as by a ViT."""
        for module, layout in zip(self.temporal, self.layouts):
            content = getattr(module, 'match_on', '') == 'content'
            if content and layout.kind == 'NLC':
                raise ValueError(
                    "Expected match_on='tokens', because ATABackbone does not "
                    'know the position embedding of its image model, got '
                    "match_on='content'. To subtract it, use ATATimeSformer."
                )

    def _register_hooks(self, with_cp: bool) -> None:
        # The others have no hook, and no overhead.
        used = [i for i, t in enumerate(self.temporal) if t.mixes_frames]
        for i in used:
            hook = TemporalHook(
                self.temporal,
                i,
                self.layouts[i],
                self.num_frames,
                with_cp,
                self.forward_pass,
                first=i == used[0],
            )
            block = self.image.get_submodule(self.block_names[i])
            block.register_forward_pre_hook(hook, with_kwargs=True)

    def train(self, mode: bool = True) -> 'ATABackbone':
        """Set the mode, except that of a frozen image model."""
        super().train(mode)
        if self.freeze_image:
            self.image.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Compute the feature maps of the frames of clips.

        Args:
            x (Tensor): (B, 3, T, H, W).

        Returns:
            Tensor: (B, C, T, h, w), with h = w = 1 if the image model returns
            one vector per image.

        Raises:
            ValueError: If the clips do not have the configured shape.
        """
        size = ('H', 'W') if self.any_size else self.img_size
        check_clips(x, 3, self.num_frames, size)
        frames = x.transpose(1, 2).flatten(0, 1)  # (B*T, 3, H, W)
        try:
            features = self._features(frames)
        finally:
            self.forward_pass.sharing = AlignmentSharing()  # frees the routes
        patches, grid = self.output_layout.split(features, self.num_frames)
        if self.output == 'cls_token':
            # The first of the prefix tokens, (B, T, 1, C).
            patches, grid = features[:, :1].view_as(patches[:, :, :1]), (1, 1)
        maps = patches.unflatten(2, grid)  # (B, T, h, w, C)
        return maps.permute(0, 4, 1, 2, 3)

    def _features(self, images: Tensor) -> Tensor:
        return last_feature(getattr(self.image, self.method)(images))


def _freeze(image: nn.Module, names: list[str]) -> None:
    for name in names:
        image.get_parameter(name).requires_grad = False
    if names:
        print_log(
            f'Froze parameters of {type(image).__name__} that its features do '
            f'not depend on: {names}.',
            logger='current',
        )
