# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import torch

from ata_mm.checkpoints.key_layouts import (
    KeyLayout,
    any_match,
    has_key,
    rename,
    substitute,
)


def test_renames_apply_in_order_and_keep_the_tensors():
    layout = KeyLayout('toy', '', renames=((r'^a\.', 'b.'), (r'^b\.', 'c.')))
    weight = torch.ones(1)
    assert rename({'a.weight': weight}, layout) == {'c.weight': weight}
    assert substitute(layout.renames, 'b.bias') == 'c.bias'


def test_markers_match_the_start_and_patterns_anywhere():
    assert has_key('norm', ['head', 'norm1'])
    assert not has_key('norm', ['head.norm'])
    assert any_match(['head', 'norm'], 'blocks.0.norm1')
    assert not any_match(['head'], 'blocks.0.norm1')
