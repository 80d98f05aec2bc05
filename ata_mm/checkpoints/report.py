# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Report of a loaded or converted checkpoint."""

import re
import textwrap
from dataclasses import dataclass, field
from typing import List

_LEAF = re.compile(
    r'\.(weight|bias|running_mean|running_var|num_batches_tracked)$'
)
# A number in the middle of a key counts even at the end of a name (layer2.);
# at the end of the key it must be a segment of its own, since fc1 is a name.
_INDEX = re.compile(r'\d+(?=\.)|(?<=\.)\d+$')


@dataclass
class LoadReport:
    """Source of every parameter of a backbone.

    Args:
        layout (str): Name of the key layout of the checkpoint.
        loaded (list[str]): Parameters loaded unchanged.
        interpolated (list[str]): Embeddings interpolated to the model's size.
        copied (list[str]): Temporal parameters copied from spatial attention.
        zeroed (list[str]): Parameters set to zero.
        left (list[str]): Parameters left at their initial values.
        dropped (list[str]): Keys of the checkpoint that are not used: those of
            the head, and constants and final norms that the model lacks.
        head (str): Treatment of the classifier.
    """

    layout: str
    loaded: List[str] = field(default_factory=list)
    interpolated: List[str] = field(default_factory=list)
    copied: List[str] = field(default_factory=list)
    zeroed: List[str] = field(default_factory=list)
    left: List[str] = field(default_factory=list)
    dropped: List[str] = field(default_factory=list)
    head: str = 'none in the checkpoint'

    def __str__(self) -> str:
        rows = [
            ('loaded unchanged', self.loaded),
            ('interpolated', self.interpolated),
            ('copied from the spatial attention', self.copied),
            ('set to zero', self.zeroed),
            ('left as initialised', self.left),
            ('dropped from the checkpoint', self.dropped),
        ]
        lines = [f'Checkpoint layout: {self.layout}. Parameters:']
        lines += [_row(title, keys) for title, keys in rows if keys]
        return '\n'.join([*lines, f'  classifier: {self.head}'])


def _row(title: str, keys: List[str]) -> str:
    """Return the number of keys and the names of their layers.

    Layers that differ in their indices alone are listed once, with ``*``.
    """
    layers = (_LEAF.sub('', key) for key in keys)
    names = dict.fromkeys(_INDEX.sub('*', layer) for layer in layers)
    return textwrap.fill(
        f'{len(keys):6d} {title}: {", ".join(names)}',
        width=79,
        subsequent_indent=' ' * 9,
        break_long_words=False,
        break_on_hyphens=False,
    )
