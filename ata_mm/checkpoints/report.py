# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""What a user is told about a checkpoint."""
import re
import textwrap
from dataclasses import dataclass, field
from typing import List

_LEAF = re.compile(
    r'\.(weight|bias|running_mean|running_var|num_batches_tracked)$')
# In the last segment, where fc1 is a name, only what is a number by itself.
_INDEX = re.compile(r'\d+(?=\.)|(?<=\.)\d+$')


@dataclass
class LoadReport:
    """Where every parameter of a backbone came from.

    ``dropped`` names the keys of the checkpoint that have no place: those of
    the head, and constants and final norms that the model does without;
    ``head`` says what became of the classifier.
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
        rows = [('loaded as they are', self.loaded),
                ('interpolated', self.interpolated),
                ('copied from the spatial attention', self.copied),
                ('set to zero', self.zeroed),
                ('left as initialised', self.left),
                ('of the checkpoint dropped', self.dropped)]
        lines = [f'Checkpoint layout: {self.layout}. Parameters:']
        lines += [_row(what, keys) for what, keys in rows if keys]
        return '\n'.join([*lines, f'  classifier: {self.head}'])


def _row(what: str, keys: List[str]) -> str:
    """The number of some keys, and the names of their layers, once for all
    indices."""
    layers = (_LEAF.sub('', key) for key in keys)
    names = dict.fromkeys(_INDEX.sub('*', layer) for layer in layers)
    return textwrap.fill(
        f'{len(keys):6d} {what}: {", ".join(names)}',
        width=79,
        subsequent_indent=' ' * 9,
        break_long_words=False,
        break_on_hyphens=False)
