# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""What our backbones share: options, and where weights come from."""
from typing import Dict, List, Optional, Sequence, Union

from mmengine.model import BaseModule
from torch import Tensor

from ata_mm.checkpoints import adapt_state_dict, load_pretrained


class PretrainedBackbone(BaseModule):
    """A backbone whose ``init_cfg=dict(type='Pretrained', checkpoint=...)``
    goes through :func:`load_pretrained`.

    mmengine's own way leaves what it does not find at random values.
    """

    def init_weights(self) -> None:
        """Load the checkpoint of ``init_cfg``, if any."""
        init_cfg = self.init_cfg or {}
        if isinstance(init_cfg, dict) and init_cfg.get('type') == 'Pretrained':
            load_pretrained(self, init_cfg['checkpoint'])
            self._is_init = True
        else:
            super().init_weights()


class VideoBackbone(PretrainedBackbone):
    """A backbone that takes checkpoints of every layout known to
    :mod:`ata_mm.checkpoints`, however they are loaded.

    Args:
        pretrained (str, optional): Path or URL for :func:`load_pretrained`;
            short for ``init_cfg=dict(type='Pretrained', checkpoint=...)``.
            Defaults to None.
        init_cfg (dict, optional): As in mmengine. Defaults to None.

    Raises:
        ValueError: If both are given.
    """

    def __init__(self,
                 pretrained: Optional[str] = None,
                 init_cfg: Optional[dict] = None) -> None:
        if pretrained is not None:
            if init_cfg is not None:
                raise ValueError(
                    'Expected either pretrained or init_cfg, got both: '
                    f'pretrained={pretrained!r}, init_cfg={init_cfg!r}. Leave '
                    'one out.')
            init_cfg = dict(type='Pretrained', checkpoint=pretrained)
        super().__init__(init_cfg)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args,
                              **kwargs) -> None:
        """Take checkpoints of other layouts wherever torch or mmengine load
        them, ``load_from`` in a config among others."""
        adapt_state_dict(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


Arch = Dict[str, List[int]]


def chosen_blocks(temporal_blocks: Union[str, Sequence[int]],
                  num_blocks: int) -> Sequence[int]:
    """Indices of the blocks that ``temporal_blocks`` names.

    Args:
        temporal_blocks (str | Sequence[int]): 'all', or indices from 0.
        num_blocks (int): How many blocks there are.

    Raises:
        ValueError: If it is neither.
    """
    if temporal_blocks == 'all':
        return range(num_blocks)
    if (isinstance(temporal_blocks, (str, int))
            or not set(temporal_blocks).issubset(range(num_blocks))):
        raise ValueError(
            "Expected temporal_blocks='all' or block indices from 0 to "
            f'{num_blocks - 1}, got {temporal_blocks!r}.')
    return temporal_blocks


def check_clips(x: Tensor, in_channels: int, num_frames: int,
                img_size: Sequence[Union[int, str]]) -> None:
    """Refuse clips of another shape than a model is for.

    Args:
        x (Tensor): To be (B, in_channels, num_frames, H, W).
        in_channels (int): Channels of the video.
        num_frames (int): Frames a clip, T.
        img_size (Sequence[int | str]): Height and width in pixels; a name
            where any size will do.

    Raises:
        ValueError: If x has another shape.
    """
    expected = ('B', in_channels, num_frames, *img_size)
    if x.ndim != 5 or any(
            isinstance(wanted, int) and wanted != got
            for wanted, got in zip(expected, x.shape)):
        raise ValueError(
            f'Expected clips ({", ".join(map(str, expected))}) = (B, '
            f'channels, num_frames, height, width), got {tuple(x.shape)}. Set '
            "the model's num_frames and img_size to what the pipeline "
            '(SampleFrames.clip_len, the crop size) delivers, or the other '
            'way round.')


def read_arch(arch: Union[str, dict],
              named: Dict[str, Arch],
              optional: Sequence[str] = ()) -> Arch:
    """Look up the size of a model, or check one that is given in full.

    Args:
        arch (str | dict): A name in ``named``, or ``dict(depths=[...],
            channels=[...])`` with one number for each stage.
        named (dict[str, dict]): The published sizes.
        optional (Sequence[str]): What a dict may have beside ``depths`` and
            ``channels``. Defaults to nothing.

    Returns:
        dict[str, list[int]]: Numbers for each stage, by what they count.

    Raises:
        ValueError: If the name is unknown, the dict has other keys, or its
            values are not positive integers, equally many.
    """
    sizes = named.get(arch) if isinstance(arch, str) else arch
    required = {'depths', 'channels'}
    known = required.union(optional)
    if not (isinstance(sizes, dict) and required <= set(sizes) <= known):
        more = f' and, if you like, {", ".join(optional)}' if optional else ''
        raise ValueError(f'Expected arch to be one of {list(named)} or a '
                         f'dict(depths=[...], channels=[...]){more}, got '
                         f'{arch!r}.')
    if not all(_one_a_stage(n, sizes['depths']) for n in sizes.values()):
        raise ValueError('Expected a positive integer for each stage in every '
                         f'list of arch, got {arch!r}.')
    return sizes


def check_images(x: Tensor, in_channels: int, smallest: int) -> None:
    """Refuse what is no batch of images that leaves a feature map.

    Args:
        x (Tensor): Expected as (B, in_channels, H, W).
        in_channels (int): Channels of the image.
        smallest (int): The least height and width.

    Raises:
        ValueError: If the shape is another one.
    """
    if x.ndim != 4 or x.shape[1] != in_channels or min(x.shape[2:]) < smallest:
        raise ValueError(
            f'Expected images (B, {in_channels}, H, W) of at least {smallest} '
            f'x {smallest} pixels, got {tuple(x.shape)}. Clips (B, 3, T, H, W)'
            ' need a video backbone, such as ATABackbone around this one.')


def _one_a_stage(numbers: Sequence[int], depths: Sequence[int]) -> bool:
    return (isinstance(numbers,
                       (list, tuple)) and 0 < len(numbers) == len(depths)
            and all(isinstance(n, int) and n > 0 for n in numbers))
