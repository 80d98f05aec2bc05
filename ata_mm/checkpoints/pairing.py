# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Pairing of parameters by their order, for names that no layout has."""

import re

from .key_layouts import StateDict, any_match
from .key_tables import CONSTANTS

# The last part of a name, after the layer.
LEAF = re.compile(
    r'\.(weight|bias|running_mean|running_var|num_batches_tracked)$'
)


def pair_by_order(source: StateDict, target: StateDict) -> dict[str, str]:
    """Pair the parameters of an image model with those of a checkpoint.

    For code bases that define the same layers in the same order under other
    names, such as efficientnet_pytorch and timm.

    Args:
        source (dict): Of the checkpoint, keys under ``image.``.
        target (dict): Of the backbone.

    Returns:
        dict[str, str]: Names of the backbone and the keys of the checkpoint
        that have their place, in the order of the model.

    Raises:
        ValueError: If numbers, shapes or the last parts of names differ, or
            the keys are sorted.
    """
    own = {
        key: value
        for key, value in target.items()
        if key.startswith('image.') and not any_match(CONSTANTS, key)
    }
    learned = {k: v for k, v in source.items() if not any_match(CONSTANTS, k)}
    # A model has weights before biases.
    if len(learned) > 1 and list(learned) == sorted(learned):
        raise ValueError(
            'Expected keys of the model, or all tensors in the order of the '
            'layers, got keys in the order of the alphabet, as safetensors '
            f'writes them: {[_in_image(key) for key in source][:4]}. Load the '
            'model by its own package, and save its state_dict by torch.save.'
        )
    for (key, value), (name, one) in zip(learned.items(), own.items()):
        theirs, ours = LEAF.search(key), LEAF.search(name)
        differ = theirs and ours and theirs[1] != ours[1]
        if value.shape != one.shape or differ:
            raise ValueError(
                'Expected keys of the model, or tensors of the same shapes in '
                f'the same order, got {_in_image(key)} {tuple(value.shape)} '
                f'at the place of {_in_image(name)} {tuple(one.shape)}. Use '
                "the model with the checkpoint's architecture."
            )
    if len(learned) != len(own):
        raise ValueError(
            'Expected keys of the model, or as many tensors of the same '
            f'shapes, got {len(learned)} tensors for {len(own)}, from '
            f'{layer_name(next(iter(source)))} on. Use the model with the '
            "checkpoint's architecture."
        )
    return dict(zip(own, learned))


def layer_name(key: str) -> str:
    """Return the layer of a parameter, by its name in the image model."""
    return LEAF.sub('', _in_image(key))


def _in_image(key: str) -> str:
    return key.removeprefix('image.')
