# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Image backbones of OpenMMLab, timm and torchvision from their configs."""
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Iterable, Tuple, Union

from mmaction.registry import MODELS
from torch import nn

from ata_mm.compat import mmpretrain_multimodal

_EXTRAS = ('timm', 'torchvision', 'mmpretrain')

# Where torchvision's models keep what comes after their features.
_TORCHVISION_HEADS = ('classifier', 'fc', 'head', 'heads')


def build_image_backbone(cfg: dict) -> Tuple[nn.Module, str]:
    """Build a model of images from a config.

    Args:
        cfg (dict): Its ``type`` is ``NAME`` for our models and MMAction2's,
            ``SCOPE.NAME`` for those of another OpenMMLab package such as
            mmpretrain, ``timm.NAME`` for ``timm.create_model`` without
            classifier (``pretrained=True`` downloads at every build, also to
            test; ``pretrained`` of the backbone is for files), and
            ``torchvision.NAME`` for
            ``torchvision.models.get_model`` with an identity as classifier
            (AlexNet, VGG and SqueezeNet give the mean over their map); or a
            class, or the full name of one. The rest are arguments of the
            model.

    Returns:
        tuple[nn.Module, str]: The model, and which method of it gives the
        features of images (B, 3, H, W).

    Raises:
        ImportError: If the package is not installed.
        ValueError: If ``cfg`` has no ``type``, or no model has that name.
    """
    options = dict(cfg)
    kind = options.pop('type', None)
    if kind is None:
        raise ValueError('Expected image_backbone=dict(type=NAME, ...), got '
                         f'{cfg!r}.')
    scope, name = _split_scope(kind)
    if scope == 'timm':
        return _build_timm(name, options)
    if scope == 'torchvision':
        return _build_torchvision(name, options), 'forward'
    if scope == 'mmpretrain':
        mmpretrain_multimodal.apply()
    _check_registered(name, scope)
    # Built in its own scope, so that it finds its own layers there.
    return MODELS.build(dict(options, type=name, _scope_=scope)), 'forward'


def _split_scope(kind: Union[str, type]) -> Tuple[str, Union[str, type]]:
    """The package, or MMAction2 where that has no models by short names."""
    if not isinstance(kind, str) or '.' not in kind:
        return 'mmaction', kind
    scope, name = kind.split('.', 1)
    _require(scope, kind)
    if scope == 'ata_mm' and '.' not in name:
        return 'mmaction', name
    if scope in ('timm', 'torchvision') or ('.' not in name and
                                            find_spec(f'{scope}.registry')):
        return scope, name
    return 'mmaction', kind


def _require(package: str, kind: str) -> None:
    if find_spec(package) is None:
        extra = f'ata_mm[{package}]' if package in _EXTRAS else package
        raise ImportError(
            f'image_backbone=dict(type={kind!r}) needs the package {package}, '
            f'which is not installed: pip install "{extra}". timm, torchvision'
            ' and mmpretrain need the torchvision that was built for the '
            'installed torch.')


def _refuse(name: str, package: str, known: Iterable[str]) -> None:
    similar = get_close_matches(name, known)
    like = f', but {" and ".join(similar)}' if similar else ''
    raise ValueError(
        f'Expected the type of image_backbone to name a model, got {name!r}, '
        f'which {package} does not have{like}. Models of other packages have '
        "the package in front: 'timm.resnet18', 'torchvision.resnet18', "
        "'mmpretrain.ResNet'.")


def _check_registered(name: Union[str, type], scope: str) -> None:
    with MODELS.switch_scope_and_registry(scope) as registry:
        if isinstance(name, str) and registry.get(name) is None:
            _refuse(name, scope, registry.module_dict)


def _build_timm(name: str, options: dict) -> Tuple[nn.Module, str]:
    import timm
    if ':' not in name and not timm.is_model(name):  # hf-hub:… is elsewhere
        _refuse(name, 'timm', timm.list_models())
    image = timm.create_model(name, **{'num_classes': 0, **options})
    image.is_init = True  # its init_weights would undo pretrained=True
    plain = not hasattr(image, 'forward_features')  # of features_only=True
    return image, 'forward' if plain else 'forward_features'


def _build_torchvision(name: str, options: dict) -> nn.Module:
    from torchvision.models import SqueezeNet, get_model, list_models
    if name.lower() not in list_models():
        _refuse(name, 'torchvision', list_models())
    image = get_model(name, **options)
    for head in _TORCHVISION_HEADS:
        if hasattr(image, head):
            setattr(image, head, nn.Identity())
    # AlexNet, VGG and SqueezeNet flatten a map, which would pass for a vector;
    # others have such a pooling already.
    pool = 'classifier' if isinstance(image, SqueezeNet) else 'avgpool'
    if hasattr(image, pool):
        setattr(image, pool, nn.AdaptiveAvgPool2d(1))
    return image
