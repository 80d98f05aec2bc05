# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Builder of image backbones of OpenMMLab, timm and torchvision."""

from collections.abc import Iterable
from difflib import get_close_matches
from importlib.util import find_spec

from mmaction.registry import MODELS
from mmengine.config import Config
from torch import nn

from ata_mm.compat import mmpretrain_multimodal

# Packages that setup.cfg lists as optional dependencies under their own name.
_EXTRAS = ('timm', 'torchvision', 'mmpretrain')

# The classifier of a torchvision model, whose name depends on its family.
_TORCHVISION_HEADS = ('classifier', 'fc', 'head', 'heads')
_TORCHVISION_AUXILIARY = ('AuxLogits', 'aux1', 'aux2')


def build_image_backbone(cfg: dict) -> tuple[nn.Module, str]:
    """Build an image model from a config.

    The ``type`` in the config is one of

    - ``NAME``, a model of MMAction2 or ata_mm;
    - ``SCOPE.NAME``, a model of another OpenMMLab package such as mmpretrain;
    - ``timm.NAME``, for ``timm.create_model`` without classifier.
      ``pretrained=True`` downloads at every build, also for testing;
      ``pretrained`` of the video backbone loads a file instead;
    - ``torchvision.NAME``, for ``torchvision.models.get_model`` with an
      identity as classifier. AlexNet, VGG and SqueezeNet return the mean of
      their map;
    - a class, or the full name of one.

    Args:
        cfg (dict): ``type``, and the arguments of the model.

    Returns:
        tuple[nn.Module, str]: The model, and the name of its method that
        computes the features of images (B, 3, H, W).

    Raises:
        ImportError: If the package is not installed.
        ValueError: If ``cfg`` is not a config, has no ``type``, or no model
            has that name.
    """
    options = dict(cfg) if isinstance(cfg, (dict, Config)) else {}
    kind = options.pop('type', None)
    if kind is None:
        raise ValueError(
            f'Expected image_backbone=dict(type=NAME, ...), got {cfg!r}.'
        )
    if not isinstance(kind, str):
        cfg = dict(options, type=kind, _scope_='mmaction')
        return MODELS.build(cfg), 'forward'
    scope, name = _split_scope(kind)
    if scope == 'timm':
        return _build_timm(name, options)
    if scope == 'torchvision':
        return _build_torchvision(name, options), 'forward'
    if scope == 'mmpretrain':
        mmpretrain_multimodal.apply()
    _check_registered(name, scope)
    # In the model's scope, in which it looks up its own layers.
    image = MODELS.build(dict(options, type=name, _scope_=scope))
    # A reversible model would call the parts of its blocks in the backward
    # pass, without hooks: temporal modules would have no gradient.
    if hasattr(image, 'no_custom_backward'):
        image.no_custom_backward = True
    return image, 'forward'


def _split_scope(kind: str) -> tuple[str, str]:
    """Split ``SCOPE.NAME``; the scope of other names is that of MMAction2."""
    if '.' not in kind:
        return 'mmaction', kind
    scope, name = kind.split('.', 1)
    _check_installed(scope, kind)
    if scope == 'ata_mm' and '.' not in name:
        return 'mmaction', name  # our models are registered there
    # The full name of a class has more dots, or a package without registry.
    if scope in ('timm', 'torchvision') or (
        '.' not in name and _has_registry(scope)
    ):
        return scope, name
    return 'mmaction', kind


def _has_registry(package: str) -> bool:
    spec = find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        return False  # a module without submodules
    return find_spec(f'{package}.registry') is not None


def _check_installed(package: str, kind: str) -> None:
    if find_spec(package) is None:
        command = f'pip install {package}'
        if package in _EXTRAS:
            command = f"pip install '.[{package}]' in the checkout of ata_mm"
        raise ImportError(
            f'Expected the package {package} for image_backbone=dict(type='
            f'{kind!r}), but it is not installed. Run {command}. '
            'timm, torchvision and mmpretrain need the torchvision that was '
            'built for the installed torch.'
        )


def _check_registered(name: str, scope: str) -> None:
    with MODELS.switch_scope_and_registry(scope) as registry:
        if registry.get(name) is None:
            raise _unknown(name, scope, registry.module_dict)


def _unknown(name: str, package: str, known: Iterable[str]) -> ValueError:
    """Return the error of an unknown name, with similar names."""
    similar = get_close_matches(name, known)
    like = f', but {" and ".join(similar)}' if similar else ''
    return ValueError(
        f'Expected the type of image_backbone to name a model, got {name!r}, '
        f'which {package} does not have{like}. Models of other packages have '
        "the package as a prefix: 'timm.resnet18', 'torchvision.resnet18', "
        "'mmpretrain.ResNet'."
    )


def _build_timm(name: str, options: dict) -> tuple[nn.Module, str]:
    import timm

    # Names with a colon, such as hf-hub:…, are not in timm's list.
    if ':' not in name and not timm.is_model(name):
        raise _unknown(name, 'timm', timm.list_models())
    image = timm.create_model(name, **{'num_classes': 0, **options})
    # Keeps mmengine from calling init_weights of timm's model, which would
    # overwrite the weights of pretrained=True.
    image.is_init = True
    # Every model of timm has this method except the wrappers that
    # features_only=True returns, whose forward computes the features.
    if hasattr(image, 'forward_features'):
        return image, 'forward_features'
    return image, 'forward'


def _build_torchvision(name: str, options: dict) -> nn.Module:
    from torchvision.models import SqueezeNet, get_model, list_models

    if name.lower() not in list_models():
        raise _unknown(name, 'torchvision', list_models())
    image = get_model(name, **options)
    # torchvision has no common interface of its models, only these names.
    for head in _TORCHVISION_HEADS:
        if hasattr(image, head):
            setattr(image, head, nn.Identity())
    # GoogLeNet and Inception have classifiers for the training alone.
    for head in _TORCHVISION_AUXILIARY:
        if hasattr(image, head):
            image.aux_logits = False
            setattr(image, head, None)
    # AlexNet, VGG and SqueezeNet flatten a map, which would pass for a vector
    # of many channels. Other models have a pooling to one position already.
    pool = 'classifier' if isinstance(image, SqueezeNet) else 'avgpool'
    if hasattr(image, pool):
        setattr(image, pool, nn.AdaptiveAvgPool2d(1))
    return image
