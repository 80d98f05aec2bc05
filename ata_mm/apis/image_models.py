# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""What timm, torchvision and mmpretrain state of their pretrained models.

The only place that knows which mean and standard deviation a pretrained model
expects, and its input size and weights.
"""

import json
import os.path as osp
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

from ata_mm.video.pipeline import step_names

PACKAGES = ('timm', 'torchvision', 'mmpretrain')

# In units of pixels, 0…255.
IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
HALF = ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
TIMESFORMER = ((114.75, 114.75, 114.75), (57.375, 57.375, 57.375))


class Statistics(NamedTuple):
    """Mean and standard deviation of the pixels that a model expects.

    Args:
        mean (tuple[float, ...]): One for each of the channels R, G and B, in
            units of pixels of 0…255.
        std (tuple[float, ...]): Likewise.
        source (str): Where they are stated, for messages.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str


class ImageModel(NamedTuple):
    """A published image model.

    Args:
        name (str): With its package: ``'timm.resnet18'``.
        config (dict): ``image_backbone`` of an ``ATABackbone``.
        statistics (Statistics): Those that its weights expect.
        size (int): Height and width of its input, in pixels.
        weights (str, optional): URL of the weights.
    """

    name: str
    config: dict
    statistics: Statistics
    size: int
    weights: str | None


def image_model(name: str) -> ImageModel | None:
    """Look up a model of timm, torchvision or mmpretrain.

    Args:
        name (str): ``PACKAGE.NAME``, as in ``'timm.convnext_tiny'``; for
            mmpretrain the name of a recipe, such as
            ``'mmpretrain.resnet50_8xb32_in1k'``.

    Returns:
        ImageModel | None: None if the package is not installed, or has no
        model of this name.
    """
    package, _, short = name.partition('.')
    if package not in PACKAGES or not find_spec(package):
        return None
    return _LOOK_UP[package](short)


def image_model_names() -> list[str]:
    """Return the names of all models of the installed packages.

    Returns:
        list[str]: ``PACKAGE.NAME``, the packages in the order of ``PACKAGES``.
    """
    return [
        f'{package}.{name}'
        for package in PACKAGES
        if find_spec(package)
        for name in _LIST[package]()
    ]


def statistics_of_file(path: str) -> Statistics | None:
    """Look up the statistics of a checkpoint by its name or its folder.

    Args:
        path (str): A file, a URL, or the folder of a HuggingFace model, whose
            ``config.json`` or ``preprocessor_config.json`` states them.

    Returns:
        Statistics | None: None if they are not known.
    """
    if osp.isdir(path):
        return _statistics_of_folder(path)
    name = osp.basename(path)
    for start, (mean, std) in _FILES.items():
        if name.startswith(start):
            return Statistics(mean, std, f'the weights {name}')
    if path.startswith(('torchvision://', 'https://download.pytorch.org/')):
        return Statistics(*IMAGENET, 'torchvision')
    if 'mmclassification' in path and find_spec('mmpretrain'):
        for recipe in _mmpretrain_recipes().values():
            if osp.basename(str(recipe.weights)) == name:
                found = image_model(f'mmpretrain.{recipe.name}')
                return found and found.statistics
    return None


# Files of our recipes and of MMAction2's zoo.
_FILES = {
    'jx_vit_': HALF,
    'timesformer_': HALF,
    'TimeSformer_': TIMESFORMER,
    'convnext_': IMAGENET,
    'CycleMLP_': IMAGENET,
}


def _scaled(
    mean: Sequence[float], std: Sequence[float], source: str
) -> Statistics:
    """Convert statistics of pixels of 0…1."""
    return Statistics(
        tuple(round(255 * value, 3) for value in mean),
        tuple(round(255 * value, 3) for value in std),
        source,
    )


def _statistics_of_folder(path: str) -> Statistics | None:
    for file in ('config.json', 'preprocessor_config.json'):
        file = osp.join(path, file)
        if not osp.isfile(file):
            continue
        with open(file, encoding='utf-8') as text:
            found = json.load(text)
        found = found.get('pretrained_cfg', found)
        mean = found.get('mean', found.get('image_mean'))
        std = found.get('std', found.get('image_std'))
        if mean and std:
            return _scaled(mean, std, file)
    return None


def _from_timm(name: str) -> ImageModel | None:
    import timm

    if not timm.is_model(name):
        return None
    try:
        found = timm.get_pretrained_cfg(name)
    except RuntimeError as error:  # of the tag after the point
        known = timm.list_pretrained(f'{name.split(".")[0]}.*')
        raise ValueError(
            f'Expected a model of timm with published weights, got {name!r}. '
            f'Known are: {", ".join(known)}.'
        ) from error
    if found is None:  # a model without published weights
        size, weights, stated = 224, None, Statistics(*IMAGENET, 'ImageNet')
    else:
        size, weights = found.input_size[-1], _timm_weights(found)
        source = f"timm's pretrained_cfg of {name}"
        stated = _scaled(found.mean, found.std, source)
    name = f'timm.{name}'
    return ImageModel(name, dict(type=name), stated, size, weights)


def _timm_weights(found) -> str | None:
    """Return the URL of a file that torch or safetensors reads."""
    if found.url and found.url.endswith(('.pth', '.pt', '.bin')):
        return found.url
    if found.hf_hub_id:
        return (
            f'https://huggingface.co/{found.hf_hub_id}/resolve/main/'
            f'{found.hf_hub_filename or "model.safetensors"}'
        )
    return None


def _from_torchvision(name: str) -> ImageModel | None:
    from torchvision.models import get_model_weights

    if name not in _torchvision_names():
        return None
    weights = get_model_weights(name).DEFAULT
    step = weights.transforms()
    stated = _scaled(step.mean, step.std, f'the transforms of {weights}')
    name = f'torchvision.{name}'
    size = step.crop_size[0]
    return ImageModel(name, dict(type=name), stated, size, weights.url)


def _torchvision_names() -> list[str]:
    from torchvision import models

    return models.list_models(module=models)


def _from_mmpretrain(name: str) -> ImageModel | None:
    from mmengine.config import Config

    recipe = _mmpretrain_recipes().get(name.lower())
    if recipe is None:
        return None
    cfg = Config.fromfile(recipe.config)
    backbone = cfg.model.get('backbone')
    if cfg.model.get('type') != 'ImageClassifier' or backbone is None:
        return None
    backbone = backbone.to_dict()
    backbone.pop('init_cfg', None)
    backbone['type'] = f'mmpretrain.{backbone["type"]}'
    backbone.update(_feature_map(backbone['type']))
    pixels = cfg.get('data_preprocessor') or cfg.model.data_preprocessor
    stated = Statistics(
        tuple(pixels['mean']),
        tuple(pixels['std']),
        f"mmpretrain's recipe {name}",
    )
    size = _crop_size(cfg)
    name = f'mmpretrain.{name}'
    return ImageModel(name, backbone, stated, size, recipe.weights)


def _feature_map(kind: str) -> dict:
    """Return the options by which a backbone returns a map of features."""
    import inspect

    from mmpretrain.registry import MODELS

    known = inspect.signature(MODELS.get(kind).__init__).parameters
    options = dict(gap_before_final_norm=False, out_type='featmap')
    return {key: v for key, v in options.items() if key in known}


def _crop_size(cfg) -> int:
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    steps = dataset.get('pipeline', ())
    sizes = [
        step.get('crop_size', step.get('scale'))
        for step, name in zip(steps, step_names(steps))
        if 'Crop' in name or name == 'Resize'
    ]
    size = sizes[-1] if sizes else 224
    return size if isinstance(size, int) else size[-1]


def _mmpretrain_recipes() -> dict[str, Any]:
    from ata_mm.compat import mmpretrain_multimodal

    mmpretrain_multimodal.apply()
    from mmpretrain.apis.model import ModelHub

    ModelHub._register_mmpretrain_models()
    return ModelHub._models_dict


def _timm_names() -> list[str]:
    import timm

    return timm.list_models()


_LOOK_UP: dict[str, Callable[[str], ImageModel | None]] = dict(
    timm=_from_timm, torchvision=_from_torchvision, mmpretrain=_from_mmpretrain
)
_LIST: dict[str, Callable[[], list[str]]] = dict(
    timm=_timm_names,
    torchvision=_torchvision_names,
    mmpretrain=lambda: list(_mmpretrain_recipes()),
)
