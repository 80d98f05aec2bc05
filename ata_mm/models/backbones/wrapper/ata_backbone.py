# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Any image backbone as a video backbone, with ATA before its blocks.

Paper: "Alignment-guided Temporal Attention for Video Action Recognition",
NeurIPS 2022, Sec. 3.3 and 4.3: "a general plug-in for image backbones".
"""
from typing import List, Optional, Sequence, Tuple, Union

import numpy as np
from mmaction.registry import MODELS
from mmengine.logging import print_log
from mmengine.model import ModuleList
from mmengine.utils import to_2tuple
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...layouts import Layout
from ...temporal import AlignmentSharing, build_temporal_layer
from ..base import VideoBackbone, check_clips, chosen_blocks
from .dry_run import (
    dry_run,
    find_blocks,
    find_layouts,
    find_output_layout,
    last_feature,
    map_first_tensor,
    unused_parameters,
)
from .image_builder import build_image_backbone


@MODELS.register_module()
class ATABackbone(VideoBackbone):
    """An image model on frames, with a temporal module before its blocks.

    The image model is built from its config and left as it is: the submodule
    ``image`` has the parameter names of its checkpoints, and forward pre-hooks
    of the chosen blocks call the temporal modules, the ModuleList
    ``temporal``. Where a block's input has class or register tokens, they
    pass by the temporal module: each frame keeps its own.

    Construction sends one image of ``img_size`` through the model to learn
    where the patches are. Parameters that the features do not depend on, such
    as a norm of the classifier in timm, are frozen, and a message names them:
    left to train, they would stop distributed training.

    Args:
        image_backbone (dict): Config of the image model, of MMAction2, ata_mm
            or, with ``mmpretrain.``, ``timm.`` or ``torchvision.`` in front
            of its type, from elsewhere. See
            :func:`~ata_mm.models.backbones.wrapper.image_builder.build_image_backbone`.
        blocks (str | Sequence[str]): Names of the modules to insert before,
            as in ``image.named_modules()``, or patterns of them: in each
            segment between dots, ``*`` and ``[0-9]`` mean what they mean in
            file names. 'layer*.*' for a ResNet, for example.
        num_frames (int): Frames a clip, T.
        layout (str | dict): Layout of the blocks' input: 'NCHW', 'NHWC',
            'NLC', or ``dict(kind='NLC', prefix_tokens=P)`` with P tokens that
            are no patches. Defaults to 'auto', found.
        img_size (int | tuple[int, int]): Height and width in pixels. Models
            whose features are maps take other sizes too. Defaults to 224.
        temporal (dict): The temporal module. Defaults to
            ``dict(type='ATA', route_encoding=True)``: few image models have
            features that tell where a patch is.
        temporal_blocks (str | Sequence[int]): Blocks that get ``temporal``:
            'all', or their indices among those that ``blocks`` matches.
            Defaults to 'all'.
        other_temporal (dict): The temporal module of the other blocks.
            Defaults to ``dict(type='TemporalAttention')``, as in Tables 5
            and 7.
        head_dims (int): Channels of a head of temporal attention; a block of
            C channels has C / head_dims heads. Defaults to 32.
        drop_path_rate (float): Stochastic depth of the last temporal module,
            growing linearly from 0 at the first. Defaults to 0.
        output (str): 'map', the patches; or 'cls_token', the first of the
            prefix tokens, as a map of one patch. Defaults to 'map'.
        with_cp (bool): Recompute the temporal modules in the backward pass to
            save memory. The image model has options of its own for the rest.
            Defaults to False.
        pretrained (str, optional): Path or URL for :func:`load_pretrained`;
            short for ``init_cfg=dict(type='Pretrained', checkpoint=...)``.
            Defaults to None.
        init_cfg (dict, optional): As in mmengine. Defaults to None.

    Raises:
        ImportError: If the image model's package is not installed.
        ValueError: If no module matches ``blocks``, the input of one is no
            feature map or its layout cannot be told, head_dims does not
            divide its channels, or an option is not one of the above.
    """

    def __init__(self,
                 image_backbone: dict,
                 blocks: Union[str, Sequence[str]],
                 num_frames: int,
                 layout: Union[str, dict] = 'auto',
                 img_size: Union[int, Tuple[int, int]] = 224,
                 temporal: Optional[dict] = None,
                 temporal_blocks: Union[str, Sequence[int]] = 'all',
                 other_temporal: Optional[dict] = None,
                 head_dims: int = 32,
                 drop_path_rate: float = 0.,
                 output: str = 'map',
                 with_cp: bool = False,
                 pretrained: Optional[str] = None,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(pretrained, init_cfg)
        if output not in ('map', 'cls_token'):
            raise ValueError("Expected output='map' or output='cls_token', "
                             f'got {output!r}.')
        self.num_frames = num_frames
        self.img_size = to_2tuple(img_size)
        self.output = output
        self.image, self.method = build_image_backbone(image_backbone)
        run = dry_run(self.image, self._features, self.img_size)
        self.block_names = find_blocks(self.image, blocks, run)
        layouts = find_layouts(self.block_names, run, layout)
        self.layouts = layouts
        self.output_layout = find_output_layout(run, layout)
        # For position embeddings, which are fitted to it.
        is_tokens = self.output_layout.kind == 'NLC'
        self.grid = self.output_layout.grid if is_tokens else None
        self._check_output()
        _freeze(self.image, unused_parameters(self.image, run.output))

        chosen = chosen_blocks(temporal_blocks, len(layouts))
        temporal = temporal or dict(type='ATA', route_encoding=True)
        other_temporal = other_temporal or dict(type='TemporalAttention')
        rates = np.linspace(0, drop_path_rate, len(layouts)).tolist()
        self.temporal = ModuleList(
            build_temporal_layer(temporal if i in chosen else other_temporal,
                                 layout.channels, head_dims, num_frames,
                                 rates[i]) for i, layout in enumerate(layouts))
        self.sharing = AlignmentSharing()
        for i, layout in enumerate(layouts):
            if self.temporal[i].mixes_frames:  # others cost nothing
                hook = TemporalHook(self.temporal, i, layout, num_frames,
                                    with_cp, self.sharing)
                self.image.get_submodule(
                    self.block_names[i]).register_forward_pre_hook(
                        hook, with_kwargs=True)
        kinds = {layout.kind for layout in (*layouts, self.output_layout)}
        self.any_size = 'NLC' not in kinds

    def forward(self, x: Tensor) -> Tensor:
        """Clips to the feature maps of their frames.

        Args:
            x (Tensor): (B, 3, T, H, W).

        Returns:
            Tensor: (B, C, T, h, w), h = w = 1 where the image model gives one
            vector an image.

        Raises:
            ValueError: If the clips have another shape than the model is for.
        """
        size = ('H', 'W') if self.any_size else self.img_size
        check_clips(x, 3, self.num_frames, size)
        self.sharing.reset()
        frames = x.transpose(1, 2).flatten(0, 1)  # (B*T, 3, H, W)
        features = self._features(frames)
        patches, grid = self.output_layout.split(features, self.num_frames)
        if self.output == 'cls_token':
            patches, grid = features[:, :1].view_as(patches[:, :, :1]), (1, 1)
        maps = patches.unflatten(2, grid)  # (B, T, h, w, C)
        return maps.permute(0, 4, 1, 2, 3)

    def _features(self, images: Tensor) -> Tensor:
        return last_feature(getattr(self.image, self.method)(images))

    def _check_output(self) -> None:
        if self.output == 'cls_token' and not self.output_layout.prefix_tokens:
            raise ValueError(
                "Expected an image backbone that returns a class token with "
                "its patches for output='cls_token', but its features are "
                f"{self.output_layout}. Use output='map'.")


def _freeze(image: nn.Module, names: List[str]) -> None:
    for name in names:
        image.get_parameter(name).requires_grad = False
    if names:
        print_log(
            f'Features of {type(image).__name__} do not depend on {names}, '
            'which are frozen.',
            logger='current')


class TemporalHook:
    """A forward pre-hook that sends a block's input through a temporal module
    first.

    Args:
        temporal (nn.ModuleList): All temporal modules. They are looked up in
            it at each call, in case one is replaced, as wrappers do.
        index (int): Which of them is for this block.
        layout (Layout): The layout of the block's input.
        num_frames (int): Frames a clip, T.
        with_cp (bool): Recompute the temporal module in the backward pass.
        sharing (AlignmentSharing): One for all hooks of a model.
    """

    def __init__(self, temporal: nn.ModuleList, index: int, layout: Layout,
                 num_frames: int, with_cp: bool,
                 sharing: AlignmentSharing) -> None:
        self.temporal = temporal
        self.index = index
        self.layout = layout
        self.num_frames = num_frames
        self.with_cp = with_cp
        self.sharing = sharing

    def __call__(self, block: nn.Module, args: tuple,
                 kwargs: dict) -> Tuple[tuple, dict]:
        return map_first_tensor(self.mix_frames, args, kwargs)

    def mix_frames(self, x: Tensor) -> Tensor:
        """Features of B*T frames, in the image model's layout, to the same
        after an exchange between the frames of each clip."""
        module = self.temporal[self.index]
        patches, grid = self.layout.split(x, self.num_frames)
        alignment = self.sharing(module, patches, None, grid)
        inputs = patches, None, grid, alignment
        if self.with_cp and module.training:
            patches = checkpoint(module, *inputs, use_reentrant=False)
        else:
            patches = module(*inputs)
        return self.layout.merge(patches, x)
