# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Key layouts of published ViT and TimeSformer checkpoints.

One table a layout: patterns on the keys of a backbone, and what they are
called in ``ATATimeSformer``. All functions are pure and idempotent: keys that
have our names already keep them.
"""
import re
from typing import Dict, NamedTuple, Tuple

from torch import Tensor

StateDict = Dict[str, Tensor]

_MMCV_LAYER = r'^transformer_layers\.layers\.(\d+)\.'
_MMCV_FFN = (
    (_MMCV_LAYER + r'ffns\.0\.layers\.0\.0\.', r'blocks.\1.mlp.fc1.'),
    (_MMCV_LAYER + r'ffns\.0\.layers\.1\.', r'blocks.\1.mlp.fc2.'),
    (r'^patch_embed\.projection\.', 'patch_embed.proj.'),
)


def _mmcv_attention(index: int, target: str) -> Tuple[Tuple[str, str], ...]:
    """Keys of nn.MultiheadAttention in mmcv's transformer layers."""
    source = _MMCV_LAYER + rf'attentions\.{index}\.attn\.'
    return ((source + 'in_proj_', rf'blocks.\1.{target}.qkv.'),
            (source + r'out_proj\.', rf'blocks.\1.{target}.proj.'))


class Layout(NamedTuple):
    """How one family of checkpoints names its keys."""
    name: str
    marker: str  # a key that matches tells the layout
    renames: Tuple[Tuple[str, str], ...]


# The first layout of which a key matches the marker is taken.
LAYOUTS = (
    Layout('TimeSformer (official)', r'^blocks\.\d+\.temporal_attn\.', (
        (r'^(blocks\.\d+)\.temporal_norm1\.', r'\1.temporal.norm.'),
        (r'^(blocks\.\d+)\.temporal_attn\.', r'\1.temporal.attn.'),
        (r'^(blocks\.\d+)\.temporal_fc\.', r'\1.temporal.temporal_fc.'),
    )),
    Layout('TimeSformer (mmaction2)', _MMCV_LAYER + r'attentions\.1\.', (
        (_MMCV_LAYER + r'attentions\.0\.norm\.', r'blocks.\1.temporal.norm.'),
        (_MMCV_LAYER + r'attentions\.0\.temporal_fc\.',
         r'blocks.\1.temporal.temporal_fc.'),
        *_mmcv_attention(0, 'temporal.attn'),
        (_MMCV_LAYER + r'attentions\.1\.norm\.', r'blocks.\1.norm1.'),
        *_mmcv_attention(1, 'attn'),
        (_MMCV_LAYER + r'ffns\.0\.norm\.', r'blocks.\1.norm2.'),
        *_MMCV_FFN,
    )),
    Layout('image ViT (mmaction2)', _MMCV_LAYER + r'attentions\.0\.', (
        (_MMCV_LAYER + r'norms\.0\.', r'blocks.\1.norm1.'),
        (_MMCV_LAYER + r'norms\.1\.', r'blocks.\1.norm2.'),
        *_mmcv_attention(0, 'attn'),
        *_MMCV_FFN,
    )),
    Layout('image ViT (mmpretrain)', r'^layers\.\d+\.ln1\.', (
        (r'^layers\.(\d+)\.ln(\d)\.', r'blocks.\1.norm\2.'),
        (r'^layers\.(\d+)\.attn\.', r'blocks.\1.attn.'),
        (r'^layers\.(\d+)\.ffn\.layers\.0\.0\.', r'blocks.\1.mlp.fc1.'),
        (r'^layers\.(\d+)\.ffn\.layers\.1\.', r'blocks.\1.mlp.fc2.'),
        (r'^ln1\.', 'norm.'),
        (r'^patch_embed\.projection\.', 'patch_embed.proj.'),
    )),
    Layout('ata_mm', r'^blocks\.\d+\.temporal\.', ()),
    Layout('image ViT (timm)', r'^blocks\.\d+\.attn\.', ()),
)

_WRAPPERS = re.compile(r'^(?:(?:module|model|backbone)\.)+')
_HEAD = re.compile(r'^(?:cls_head|head|pre_logits)\.')
_CLASSIFIER = re.compile(
    r'^(?:cls_head\.fc_cls|head(?:\.layers\.head|\.fc)?)\.'
    r'(weight|bias)$')


def split_head(state_dict: StateDict) -> Tuple[StateDict, StateDict]:
    """Strip the names of wrappers and tell the head from the backbone.

    Args:
        state_dict (dict): Keys as published, with or without ``module.``,
            ``model.`` or ``backbone.`` in front.

    Returns:
        tuple[dict, dict]: Keys of the backbone, still in their own layout,
        and keys of the head; the classifier's are ``weight`` and ``bias``.
    """
    backbone, head = {}, {}
    for key, value in state_dict.items():
        key = _WRAPPERS.sub('', key)
        if _HEAD.match(key):
            head[_CLASSIFIER.sub(r'\1', key)] = value
        else:
            backbone[key] = value
    return backbone, head


def find_layout(state_dict: StateDict) -> Layout:
    """Tell the layout of a backbone's keys.

    Raises:
        ValueError: If no key is of a known layout.
    """
    for layout in LAYOUTS:
        if any(re.match(layout.marker, key) for key in state_dict):
            return layout
    raise ValueError(
        'Expected a checkpoint in one of these layouts: '
        f'{", ".join(layout.name for layout in LAYOUTS)}; none of its keys '
        f'fits. The first are {sorted(state_dict)[:8]}.')


def rename(state_dict: StateDict, layout: Layout) -> StateDict:
    """Give the keys of a backbone our names; other keys stay."""
    renamed = {}
    for key, value in state_dict.items():
        for pattern, target in layout.renames:
            key = re.sub(pattern, target, key)
        renamed[key] = value
    return renamed
