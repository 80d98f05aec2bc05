# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Key layouts of published ViTs and TimeSformers, for ``ATATimeSformer``.

Sources of the names: facebookresearch/TimeSformer, MMAction2 1.2.0,
mmpretrain 1.2.0, timm, and TimesformerForVideoClassification of HuggingFace's
transformers.
"""
from .layout import Family, KeyLayout, Renames

# Without the bias it is the same function as with a bias of zero.
_BIAS = r'\.time_bias$'

# A TimeSformer starts its temporal attention from the spatial one of the same
# block, and adds nothing at first: temporal_fc and time_embed are zero.
_FROM_IMAGES = dict(
    copies=((r'\.temporal\.norm\.', '.norm1.'), (r'\.temporal\.attn\.',
                                                 '.attn.')),
    zeros=(_BIAS, r'^time_embed$', r'\.temporal\.temporal_fc\.'))

_MMCV_LAYER = r'^transformer_layers\.layers\.(\d+)\.'
_MMCV_FFN = (
    (_MMCV_LAYER + r'ffns\.0\.layers\.0\.0\.', r'blocks.\1.mlp.fc1.'),
    (_MMCV_LAYER + r'ffns\.0\.layers\.1\.', r'blocks.\1.mlp.fc2.'),
    (r'^patch_embed\.projection\.', 'patch_embed.proj.'),
)


def _mmcv_attention(index: int, target: str) -> Renames:
    """Keys of nn.MultiheadAttention in mmcv's transformer layers."""
    source = _MMCV_LAYER + rf'attentions\.{index}\.attn\.'
    return ((source + 'in_proj_', rf'blocks.\1.{target}.qkv.'),
            (source + r'out_proj\.', rf'blocks.\1.{target}.proj.'))


OFFICIAL = KeyLayout(
    'TimeSformer (official)',
    r'^blocks\.\d+\.temporal_attn\.',
    renames=(
        (r'^(blocks\.\d+)\.temporal_norm1\.', r'\1.temporal.norm.'),
        (r'^(blocks\.\d+)\.temporal_attn\.', r'\1.temporal.attn.'),
        (r'^(blocks\.\d+)\.temporal_fc\.', r'\1.temporal.temporal_fc.'),
    ),
    zeros=(_BIAS, ))

MMACTION = KeyLayout(
    'TimeSformer (mmaction2)',
    _MMCV_LAYER + r'attentions\.1\.',
    renames=(
        (_MMCV_LAYER + r'attentions\.0\.norm\.', r'blocks.\1.temporal.norm.'),
        (_MMCV_LAYER + r'attentions\.0\.temporal_fc\.',
         r'blocks.\1.temporal.temporal_fc.'),
        *_mmcv_attention(0, 'temporal.attn'),
        (_MMCV_LAYER + r'attentions\.1\.norm\.', r'blocks.\1.norm1.'),
        *_mmcv_attention(1, 'attn'),
        (_MMCV_LAYER + r'ffns\.0\.norm\.', r'blocks.\1.norm2.'),
        *_MMCV_FFN,
    ),
    zeros=(_BIAS, ))

HUGGINGFACE = KeyLayout(
    'TimeSformer (HuggingFace)',
    r'^encoder\.layer\.\d+\.temporal_attention\.',
    renames=(
        (r'^embeddings\.cls_token$', 'cls_token'),
        (r'^embeddings\.position_embeddings$', 'pos_embed'),
        (r'^embeddings\.time_embeddings$', 'time_embed'),
        (r'^embeddings\.patch_embeddings\.projection\.', 'patch_embed.proj.'),
        (r'^encoder\.layer\.', 'blocks.'),
        (r'\.temporal_layernorm\.', '.temporal.norm.'),
        (r'\.temporal_attention\.', '.temporal.attention.'),
        (r'\.temporal_dense\.', '.temporal.temporal_fc.'),
        (r'\.attention\.attention\.qkv\.', '.attn.qkv.'),
        (r'\.attention\.output\.dense\.', '.attn.proj.'),
        (r'\.layernorm_before\.', '.norm1.'),
        (r'\.layernorm_after\.', '.norm2.'),
        (r'\.intermediate\.dense\.', '.mlp.fc1.'),
        (r'\.output\.dense\.', '.mlp.fc2.'),
        (r'^layernorm\.', 'norm.'),
    ),
    zeros=(_BIAS, ))

IMAGE_MMACTION = KeyLayout(
    'image ViT (mmaction2)',
    _MMCV_LAYER + r'attentions\.0\.',
    renames=(
        (_MMCV_LAYER + r'norms\.0\.', r'blocks.\1.norm1.'),
        (_MMCV_LAYER + r'norms\.1\.', r'blocks.\1.norm2.'),
        *_mmcv_attention(0, 'attn'),
        *_MMCV_FFN,
    ),
    **_FROM_IMAGES)

IMAGE_MMPRETRAIN = KeyLayout(
    'image ViT (mmpretrain)',
    r'^layers\.\d+\.ln1\.',
    renames=(
        (r'^layers\.(\d+)\.ln(\d)\.', r'blocks.\1.norm\2.'),
        (r'^layers\.(\d+)\.attn\.', r'blocks.\1.attn.'),
        (r'^layers\.(\d+)\.ffn\.layers\.0\.0\.', r'blocks.\1.mlp.fc1.'),
        (r'^layers\.(\d+)\.ffn\.layers\.1\.', r'blocks.\1.mlp.fc2.'),
        (r'^ln1\.', 'norm.'),
        (r'^patch_embed\.projection\.', 'patch_embed.proj.'),
    ),
    **_FROM_IMAGES)

OURS = KeyLayout('ata_mm', r'^blocks\.\d+\.temporal\.', zeros=(_BIAS, ))

IMAGE_TIMM = KeyLayout('image ViT (timm)', r'^blocks\.\d+\.attn\.',
                       **_FROM_IMAGES)

TIMESFORMER = Family(r'^blocks\.\d+\.norm1\.',
                     (OFFICIAL, MMACTION, HUGGINGFACE, IMAGE_MMACTION,
                      IMAGE_MMPRETRAIN, OURS, IMAGE_TIMM))
