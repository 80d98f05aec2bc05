# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""What the image backbones share: their size tables and their input."""
from typing import Dict, List, Sequence, Union

from torch import Tensor

Arch = Dict[str, List[int]]


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
