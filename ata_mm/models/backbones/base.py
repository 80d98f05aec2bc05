# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""What our backbones share: options, and where weights come from."""
from typing import Optional, Sequence, Union

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
