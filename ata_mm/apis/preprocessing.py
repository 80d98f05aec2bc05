# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Compare the data_preprocessor of a config with what its model expects."""

import ast
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config

from ata_mm.video.pipeline import step_names, type_name

from .image_models import (
    IMAGENET,
    Statistics,
    image_model,
    statistics_of_file,
)

# Of 255: rounding, not another normalisation.
_TOLERANCE = 1.0
_OTHER_INPUTS = ('Pose', 'Audio', 'Heatmap', 'GCN')


def expected_statistics(
    cfg: Config, weights: str | None = None
) -> Statistics | None:
    """Return the pixel statistics that the weights of a model expect.

    Args:
        cfg (Config): Config of a recognizer.
        weights (str, optional): Path or URL of the published weights that it
            starts from. Defaults to None, those of its backbone.

    Returns:
        Statistics | None: None without published weights, or if their
        statistics are not known.
    """
    backbone = cfg.model.get('backbone') or {}
    image = backbone.get('image_backbone')
    image = image if isinstance(image, dict) else {}  # the builder refuses
    weights = weights or _weights(backbone) or _weights(image)
    if not (weights or image.get('weights')):
        return None
    # A folder or a file says more than the architecture, which has several.
    found = statistics_of_file(weights) if isinstance(weights, str) else None
    if found is None and isinstance(image.get('type'), str):
        known = image_model(image['type'])
        found = known and known.statistics
    kind = type_name(backbone.get('type', ''))
    if found is None and kind in ('ATAConvNeXt', 'ATACycleMLP'):
        found = Statistics(*IMAGENET, f'the published weights of {kind}')
    return found


def saved_statistics(meta: dict) -> Statistics | None:
    """Read the statistics that a checkpoint was trained with.

    They are stated by ``tools/convert_checkpoint.py``, or are in the config of
    the training, which is parsed and not run, since it is code.

    Args:
        meta (dict): The ``meta`` of the checkpoint.

    Returns:
        Statistics | None: None if it has none that can be read.
    """
    stated = meta.get('data_preprocessor')
    if isinstance(stated, dict) and stated.get('mean') and stated.get('std'):
        return Statistics(stated['mean'], stated['std'], 'the checkpoint')
    try:
        return _statistics_in(ast.parse(str(meta.get('cfg') or '')))
    except (SyntaxError, ValueError, RecursionError):  # not the dump of one
        return None


def _statistics_in(tree: ast.AST) -> Statistics | None:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.keyword)
            and node.arg == 'data_preprocessor'
            and isinstance(node.value, ast.Call)
        ):
            found = {
                option.arg: ast.literal_eval(option.value)
                for option in node.value.keywords
                if option.arg in ('mean', 'std')
            }
            if found.get('mean') and found.get('std'):
                source = 'the config in the checkpoint'
                return Statistics(**found, source=source)
    return None


def preprocessing_fault(
    cfg: Config, expected: Statistics | None
) -> str | None:
    """Compare the mean and standard deviation of a config.

    Args:
        cfg (Config): Config of a recognizer.
        expected (Statistics, optional): What its weights expect; None if
            unknown, or for weights that start at random.

    Returns:
        str | None: A message if pixels are not normalised, or not as
        expected. None if they are, or if the model does not take RGB frames.
    """
    if not _takes_rgb(cfg):
        return None
    pixels = cfg.model.get('data_preprocessor') or {}
    if type_name(pixels.get('type', 'ActionDataPreprocessor')) != (
        'ActionDataPreprocessor'
    ):
        return None
    mean, std = pixels.get('mean'), pixels.get('std')
    if mean is None or std is None:
        hint = _setting(cfg, expected or Statistics(*IMAGENET, 'ImageNet'))
        return (
            'Expected mean and std in model.data_preprocessor, got none: the '
            f'network is given pixels of 0…255 as they are. {hint}'
        )
    if expected is None or (
        _fits(mean, expected.mean) and _fits(std, expected.std)
    ):
        return None
    return (
        f'Expected in model.data_preprocessor the mean and std of the weights '
        f'({expected.source}), got mean={_rounded(mean)}, '
        f'std={_rounded(std)}. {_setting(cfg, expected)}'
    )


def _weights(part: dict) -> Any:
    init_cfg = part.get('init_cfg')
    if isinstance(init_cfg, dict) and init_cfg.get('type') == 'Pretrained':
        return init_cfg.get('checkpoint')
    return part.get('pretrained')


def _takes_rgb(cfg: Config) -> bool:
    """Return whether a recognizer takes frames of three colours."""
    if type_name(cfg.model.get('type', '')) not in (
        'Recognizer2D',
        'Recognizer3D',
    ):
        return False
    for loader in ('train_dataloader', 'test_dataloader'):
        dataset = (cfg.get(loader) or {}).get('dataset') or {}
        names = step_names(dataset.get('pipeline') or ())
        if dataset.get('modality', 'RGB') != 'RGB' or any(
            other in name for name in names for other in _OTHER_INPUTS
        ):
            return False
    return True


def _fits(values: Sequence[float], expected: Sequence[float]) -> bool:
    return len(values) == len(expected) and all(
        abs(a - b) <= _TOLERANCE for a, b in zip(values, expected)
    )


def _rounded(values: Sequence[float]) -> str:
    return '[' + ', '.join(f'{value:g}' for value in values) + ']'


def _setting(cfg: Config, right: Statistics) -> str:
    three = type_name(cfg.model.type) == 'Recognizer3D'
    return (
        "Set data_preprocessor=dict(type='ActionDataPreprocessor', "
        f'mean={_rounded(right.mean)}, std={_rounded(right.std)}, '
        f'format_shape={"NCTHW" if three else "NCHW"!r}), those of '
        f'{right.source}.'
    )
