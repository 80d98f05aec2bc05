# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Choose the settings of a recognizer by the name of its backbone."""

import os.path as osp
from collections.abc import Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import nn

from ata_mm.models.backbones.convnext import ARCHS as CONVNEXTS
from ata_mm.models.backbones.cyclemlp import ARCHS as CYCLEMLPS
from ata_mm.models.backbones.wrapper import build_image_backbone
from ata_mm.models.backbones.wrapper.dry_run import (
    DryRun,
    dry_run,
    find_blocks,
    find_layouts,
    find_output_layout,
    last_feature,
    patterns_of,
    propose_blocks,
)
from ata_mm.models.layouts import Layout
from ata_mm.models.temporal.base import common_head_dims
from ata_mm.ops import AutoMatcher

from .image_models import (
    HALF,
    IMAGENET,
    PACKAGES,
    ImageModel,
    Statistics,
    image_model,
    image_model_names,
    statistics_of_file,
)

_LARGEST_HEAD = 32  # channels, as in the recipes
_VIT_URL = (
    'https://github.com/rwightman/pytorch-image-models/releases/download/'
    'v0.1-vitjx/jx_vit_base_patch16_224_in21k-e5005f0a.pth'
)
_CONVNEXT_URL = (
    'https://dl.fbaipublicfiles.com/convnext/convnext_{}_22k_224.pth'
)
_CYCLEMLP_URL = (
    'https://github.com/ShoufaChen/CycleMLP/releases/download/v0.1/'
    'CycleMLP_{}.pth'
)


class OwnBackbone(NamedTuple):
    """A backbone of ata_mm.

    Args:
        base (str): The model config that it inherits.
        backbone (dict): ``backbone`` of the config, beyond this base.
        channels (int): Channels of its features.
        weights (str, optional): URL of published weights. Defaults to None.
        statistics (tuple, optional): Mean and standard deviation of the base.
        size (int): Height and width of its frames. Defaults to 224.
        temporal (dict): Options of ATA and temporal attention. Defaults to
            none.
        patch_size (int, optional): Side of the patches of a ViT, which is
            built for one size of the frames. Defaults to None.
    """

    base: str
    backbone: dict
    channels: int
    weights: str | None = None
    statistics: Any = None
    size: int = 224
    temporal: Mapping[str, Any] = MappingProxyType({})
    patch_size: int | None = None


class Choice(NamedTuple):
    """Settings of a recognizer.

    Args:
        name (str): The backbone, in full.
        bases (list[str]): Configs of ``_base_/models`` to inherit.
        model (dict): ``model`` of the config, beyond these.
        size (int): Height and width of its frames in pixels.
        pretrained (str, optional): The weights; None to start at random.
        comments (dict[str, str]): Reasons by dotted key of ``model``.
    """

    name: str
    bases: list[str]
    model: dict
    size: int
    pretrained: str | None
    comments: dict[str, str]


class Wanted(NamedTuple):
    """What the user chooses.

    Args:
        num_classes (int): Number of classes.
        num_frames (int): Frames per clip.
        temporal (str): 'ATA', 'TemporalAttention' or 'TemporalAveraging'.
        checkpoint (str, optional): Weights of the backbone; 'none' to start
            at random. None for those that its authors have published.
        img_size (int, optional): Height and width of the frames in pixels.
            None for that of the weights.
        blocks (str | list[str], optional): Patterns of the blocks of an image
            model. None to search them.
    """

    num_classes: int
    num_frames: int = 8
    temporal: str = 'ATA'
    checkpoint: str | None = None
    img_size: int | None = None
    blocks: Any = None


def choose_backbone(name: str, wanted: Wanted) -> Choice:
    """Choose the settings of a recognizer.

    Args:
        name (str): One of :func:`backbone_names`. The package may be left out.
        wanted (Wanted): What the user chooses.

    Returns:
        Choice: The settings.

    Raises:
        ValueError: If no backbone has this name, with the nearest ones, or the
            blocks of an image model are not found.
    """
    for one, own in _OWN.items():
        if one.lower() == name.lower():
            return _settle(one, own, wanted)
    for package in ('', 'timm.', 'torchvision.', 'mmpretrain.'):
        found = image_model(package + name)
        if found is not None:
            return _wrap(found, wanted)
    absent = [package for package in PACKAGES if not find_spec(package)]
    missing = (
        f' More are in {", ".join(absent)}, which this environment does not '
        f"have: pip install '.[{absent[0]}]' in the checkout of ata_mm."
        if absent
        else ''
    )
    raise ValueError(
        f'Expected the name of a backbone, got {name!r}. The nearest are '
        f'{", ".join(_nearest(name))}.{missing}'
    )


def backbone_names() -> list[str]:
    """Return the backbones of ata_mm and of the installed packages."""
    return [*_OWN, *image_model_names()]


def _nearest(name: str, number: int = 5) -> list[str]:
    short = {
        full.partition('.')[2].lower() or full.lower(): full
        for full in reversed(backbone_names())
    }
    wanted = name.partition('.')[2] or name
    found = get_close_matches(wanted.lower(), short, number, 0.4)
    return [short[one] for one in found] or list(_OWN)


def _wrap(image: ImageModel, wanted: Wanted) -> Choice:
    """Choose the settings of an ATABackbone around an image model."""
    size = wanted.img_size or image.size
    (model, method), config = _build(image, size)
    run = dry_run(
        model,
        lambda x: last_feature(getattr(model, method)(x)),
        (size, size),
    )
    every = _blocks(model, run, image, wanted)
    layouts = _layouts(every, run)
    chosen = every
    if wanted.blocks is None:
        limit = _max_exact('cpu')
        chosen = [name for name in every if _patches(layouts[name]) <= limit]
        chosen = chosen or [every[-1]]
    patterns = patterns_of(chosen, model)
    head_dims = max(
        n
        for n in common_head_dims([layouts[n].channels for n in chosen])
        if n <= _LARGEST_HEAD
    )
    pretrained = _weights(wanted, image.weights)
    stated = image.statistics
    if pretrained and pretrained != image.weights:
        stated = statistics_of_file(pretrained) or stated
    backbone: dict[str, Any] = dict(
        type='ATABackbone',
        image_backbone=config,
        blocks=patterns[0] if len(patterns) == 1 else patterns,
        num_frames=wanted.num_frames,
        img_size=size,
        head_dims=head_dims,
        pretrained=pretrained,
    )
    kinds = {layouts[name].kind for name in chosen}
    if len(kinds) == 1:
        backbone['layout'] = kinds.pop()
    comments = {
        'backbone.blocks': _reason(every, chosen, layouts),
        'backbone.head_dims': 'divides the channels of these blocks',
        'backbone.pretrained': _reason_of_weights(wanted, pretrained),
        'data_preprocessor': f'those of {stated.source}',
    }
    temporal: dict[str, Any] = dict(type=wanted.temporal)
    if wanted.temporal != 'TemporalAveraging':
        temporal.update(_MOTION)
        # Positions and velocities have eighths of the channels each.
        if any(layouts[name].channels % 8 for name in chosen):
            temporal.pop('route_encoding')
        comments['backbone.temporal'] = _REASON_OF_MOTION
    backbone['temporal'] = temporal
    return Choice(
        image.name,
        [],
        dict(
            type='Recognizer3D',
            backbone=backbone,
            cls_head=dict(
                type='I3DHead',
                num_classes=wanted.num_classes,
                in_channels=find_output_layout(run, 'auto').channels,
                average_clips='prob',
            ),
            data_preprocessor=_preprocessor(stated),
            test_cfg=dict(max_testing_views=8),
        ),
        size,
        pretrained,
        comments,
    )


def _build(
    image: ImageModel, size: int
) -> tuple[tuple[nn.Module, str], dict[str, Any]]:
    """Build an image model for a size of images, and return its config."""
    if size != image.size:
        for key in ('img_size', 'image_size'):
            config = {**image.config, key: size}
            with suppress(TypeError):  # of a model of any size
                return build_image_backbone(config), config
    return build_image_backbone(image.config), image.config


def _blocks(
    model: nn.Module, run: DryRun, image: ImageModel, wanted: Wanted
) -> list[str]:
    if wanted.blocks is not None:
        return find_blocks(model, wanted.blocks, run)
    found = propose_blocks(model, run)
    if not found:
        raise ValueError(
            f'Expected repeated blocks in {image.name}, got none. Name them: '
            '--cfg-options model.backbone.blocks=PATTERN, such as layer*.* .'
        )
    return found


def _layouts(names: Sequence[str], run: DryRun) -> dict[str, Layout]:
    """Find layouts; maps as high as deep have that of the other blocks."""
    found: dict[str, Layout | None] = {}
    for name in names:
        try:
            found[name] = find_layouts([name], run, 'auto')[0]
        except ValueError:
            found[name] = None
    kinds = {layout.kind for layout in found.values() if layout}
    if len(kinds) == 1:
        kind = kinds.pop()
        return dict(zip(names, find_layouts(names, run, kind)))
    return dict(zip(names, find_layouts(names, run, 'auto')))


def _max_exact(device: str) -> int:
    return AutoMatcher().limit(torch.device(device))


def _patches(layout: Layout) -> int:
    return layout.grid[0] * layout.grid[1]


def _matched(num_patches: int) -> str:
    """Describe how the largest maps are matched by default."""
    if num_patches <= _max_exact('cuda'):
        return 'exactly'
    if num_patches <= _max_exact('cpu'):
        limit = _max_exact('cuda')
        return f'exactly, above {limit} nearly optimally on a GPU'
    return 'nearly optimally'


def _reason(
    every: Sequence[str], chosen: Sequence[str], layouts: dict[str, Layout]
) -> str:
    """Explain the choice of blocks by the sizes of their maps."""
    sizes = sorted({_patches(layouts[name]) for name in chosen})
    reason = (
        f'{len(chosen)} blocks of {", ".join(map(str, sizes))} patches a '
        f'frame, matched {_matched(max(sizes))}'
    )
    rest = [name for name in every if name not in chosen]
    if rest:
        large = sorted({_patches(layouts[name]) for name in rest})
        names = ' to '.join(dict.fromkeys((rest[0], rest[-1])))
        reason += (
            f'; {names} of {", ".join(map(str, large))} left out, whose '
            'matching takes longer than the network'
        )
    return reason


def _weights(wanted: Wanted, published: str | None) -> str | None:
    if wanted.checkpoint is None:
        return published
    if wanted.checkpoint.lower() == 'none':
        return None
    path = wanted.checkpoint
    return path if '://' in path else osp.abspath(osp.expanduser(path))


def _reason_of_weights(wanted: Wanted, pretrained: str | None) -> str:
    if pretrained is None:
        return 'starts at random'
    return 'published weights' if wanted.checkpoint is None else '--checkpoint'


def _preprocessor(stated: Statistics) -> dict:
    return dict(
        type='ActionDataPreprocessor',
        mean=list(stated.mean),
        std=list(stated.std),
        format_shape='NCTHW',
    )


def _settle(name: str, own: OwnBackbone, wanted: Wanted) -> Choice:
    """Choose the settings of a backbone of ata_mm."""
    pretrained = _weights(wanted, own.weights)
    settings: dict[str, Any] = dict(
        num_frames=wanted.num_frames,
        **own.backbone,
        pretrained=pretrained,
    )
    if own.patch_size and wanted.img_size:
        if wanted.img_size % own.patch_size:
            raise ValueError(
                f'Expected --img-size to be a multiple of {own.patch_size}, '
                f'the size of a patch of {name}, got {wanted.img_size}.'
            )
        settings['img_size'] = wanted.img_size
    if wanted.temporal == 'ATA':
        if own.temporal:
            settings['temporal'] = dict(own.temporal)
    else:
        settings['temporal'] = dict(_delete_=True, type=wanted.temporal)
        if wanted.temporal != 'TemporalAveraging':
            settings['temporal'].update(own.temporal)
    model: dict[str, Any] = dict(
        backbone=settings,
        cls_head=dict(
            num_classes=wanted.num_classes, in_channels=own.channels
        ),
    )
    comments = {'backbone.pretrained': _reason_of_weights(wanted, pretrained)}
    if own.temporal is _MOTION and wanted.temporal != 'TemporalAveraging':
        comments['backbone.temporal'] = _REASON_OF_MOTION
    stated = statistics_of_file(pretrained) if pretrained else None
    if stated and (stated.mean, stated.std) != own.statistics:
        model['data_preprocessor'] = _preprocessor(stated)
        comments['data_preprocessor'] = f'those of {stated.source}'
    size = wanted.img_size or own.size
    return Choice(name, [own.base], model, size, pretrained, comments)


_VIT, _CONVNEXT, _CYCLEMLP = (
    'ata_timesformer_base',
    'ata_convnext_base',
    'ata_cyclemlp_b5',
)
# Of temporal attention in image models, as in configs/photos.
_MOTION = dict(route_encoding=True, time_bias_slopes=(2.0, 0.25))
_REASON_OF_MOTION = (
    'otherwise nothing in an image model depends on the order of the frames'
)
_OWN: dict[str, OwnBackbone] = {
    'ATATimeSformer-micro': OwnBackbone(
        'ata_timesformer_micro',
        {},
        48,
        size=24,
        # The branch of this model does not start at zero, see its base.
        temporal=dict(zero_init=False, time_bias_slopes=(2.0, 0.25)),
        patch_size=4,
    ),
    'ATATimeSformer-tiny': OwnBackbone(
        _VIT, dict(embed_dims=192, num_heads=3), 192, patch_size=16
    ),
    'ATATimeSformer-small': OwnBackbone(
        _VIT, dict(embed_dims=384, num_heads=6), 384, patch_size=16
    ),
    'ATATimeSformer-base': OwnBackbone(
        _VIT, {}, 768, _VIT_URL, HALF, patch_size=16
    ),
    **{
        f'ATAConvNeXt-{size}': OwnBackbone(
            _CONVNEXT,
            dict(arch=size),
            arch['channels'][-1],
            _CONVNEXT_URL.format(size),
            IMAGENET,
            temporal=_MOTION,
        )
        for size, arch in CONVNEXTS.items()
    },
    **{
        f'ATACycleMLP-{size}': OwnBackbone(
            _CYCLEMLP,
            dict(arch=size),
            arch['channels'][-1],
            _CYCLEMLP_URL.format(size.upper()),
            IMAGENET,
            temporal=_MOTION,
        )
        for size, arch in CYCLEMLPS.items()
    },
}
