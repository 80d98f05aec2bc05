# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Key tables: parameter names of published models and their names in ata_mm.

One :class:`KeyLayout` describes the keys of one code base, one
:class:`Family` the layouts that a backbone of ata_mm loads. To support another
layout, add its table here and list it in the family, before any layout whose
marker its keys match too.

Sources of the names: facebookresearch/TimeSformer, facebookresearch/ConvNeXt,
ShoufaChen/CycleMLP, MMAction2 1.2.0, mmpretrain 1.2.0, timm, and
HuggingFace's transformers (TimesformerModel, ViTModel, ConvNextModel).
"""

from typing import Any, NamedTuple

from torch import nn

from .key_layouts import KeyLayout, Renames, has_key


class Family(NamedTuple):
    """Models that have the same parameter names in ata_mm.

    Args:
        marker (str): Pattern of a parameter that identifies the family.
        layouts (tuple[KeyLayout]): Layouts of its checkpoints. The first
            whose marker matches is used.
    """

    marker: str
    layouts: tuple[KeyLayout, ...]


# TimeSformer and ViT, for ATATimeSformer.

# Attention without a time bias equals attention with a bias of zero.
_TIME_BIAS = r'\.time_bias$'

_TIMESFORMER_NAMES = (
    r'^(cls_token|pos_embed|time_embed)$|^(patch_embed\.proj|norm)\.|'
    r'^blocks\.\d+\.(norm[12]|attn\.(qkv|proj)|mlp\.fc[12]|'
    r'temporal\.(norm|attn\.(qkv|proj)|temporal_fc))\.(weight|bias)$'
)

_MMCV_LAYER = r'^transformer_layers\.layers\.(\d+)\.'
_MMCV_FFN = (
    (_MMCV_LAYER + r'ffns\.0\.layers\.0\.0\.', r'blocks.\1.mlp.fc1.'),
    (_MMCV_LAYER + r'ffns\.0\.layers\.1\.', r'blocks.\1.mlp.fc2.'),
    (r'^patch_embed\.projection\.', 'patch_embed.proj.'),
)


def _mmcv_attention(index: int, target: str) -> Renames:
    """Return the renames of nn.MultiheadAttention in a layer of mmcv."""
    source = _MMCV_LAYER + rf'attentions\.{index}\.attn\.'
    return (
        (source + 'in_proj_', rf'blocks.\1.{target}.qkv.'),
        (source + r'out_proj\.', rf'blocks.\1.{target}.proj.'),
    )


# In memory, transformers 5 has other names for the layers of a ViT than in
# files.
_HUGGINGFACE_VIT = (
    (r'^embeddings\.cls_token$', 'cls_token'),
    (r'^embeddings\.position_embeddings$', 'pos_embed'),
    (r'^embeddings\.time_embeddings$', 'time_embed'),
    (r'^embeddings\.patch_embeddings\.projection\.', 'patch_embed.proj.'),
    (r'^(encoder\.layer|layers)\.', 'blocks.'),
    (r'\.temporal_layernorm\.', '.temporal.norm.'),
    (r'\.temporal_attention\.', '.temporal.attention.'),
    (r'\.temporal_dense\.', '.temporal.temporal_fc.'),
    (r'\.attention\.attention\.', '.attn.'),
    (r'\.attention\.(output\.dense|o_proj)\.', '.attn.proj.'),
    (r'\.attention\.([qkv]_proj)\.', r'.attn.\1.'),
    (r'\.layernorm_before\.', '.norm1.'),
    (r'\.layernorm_after\.', '.norm2.'),
    (r'\.intermediate\.dense\.', '.mlp.fc1.'),
    (r'\.output\.dense\.', '.mlp.fc2.'),
    (r'^layernorm\.', 'norm.'),
)


def _image_vit(
    name: str, marker: str, renames: Renames = (), **options: Any
) -> KeyLayout:
    """Return the layout of an image ViT.

    As in TimeSformer, temporal attention starts as a copy of the spatial
    attention of its block and adds nothing at first: temporal_fc and
    time_embed are zero.
    """
    return KeyLayout(
        name,
        marker,
        renames,
        copies=(
            (r'\.temporal\.norm\.', '.norm1.'),
            (r'\.temporal\.attn\.', '.attn.'),
        ),
        zeros=(_TIME_BIAS, r'^time_embed$', r'\.temporal\.temporal_fc\.'),
        names=_TIMESFORMER_NAMES,
        **options,
    )


TIMESFORMER_OFFICIAL = KeyLayout(
    'TimeSformer (official)',
    r'^blocks\.\d+\.temporal_attn\.',
    renames=(
        (r'^(blocks\.\d+)\.temporal_norm1\.', r'\1.temporal.norm.'),
        (r'^(blocks\.\d+)\.temporal_attn\.', r'\1.temporal.attn.'),
        (r'^(blocks\.\d+)\.temporal_fc\.', r'\1.temporal.temporal_fc.'),
    ),
    zeros=(_TIME_BIAS,),
    names=_TIMESFORMER_NAMES,
)

TIMESFORMER_MMACTION = KeyLayout(
    'TimeSformer (mmaction2)',
    _MMCV_LAYER + r'attentions\.1\.',
    renames=(
        (_MMCV_LAYER + r'attentions\.0\.norm\.', r'blocks.\1.temporal.norm.'),
        (
            _MMCV_LAYER + r'attentions\.0\.temporal_fc\.',
            r'blocks.\1.temporal.temporal_fc.',
        ),
        *_mmcv_attention(0, 'temporal.attn'),
        (_MMCV_LAYER + r'attentions\.1\.norm\.', r'blocks.\1.norm1.'),
        *_mmcv_attention(1, 'attn'),
        (_MMCV_LAYER + r'ffns\.0\.norm\.', r'blocks.\1.norm2.'),
        *_MMCV_FFN,
    ),
    zeros=(_TIME_BIAS,),
    names=_TIMESFORMER_NAMES,
)

TIMESFORMER_HUGGINGFACE = KeyLayout(
    'TimeSformer (HuggingFace)',
    r'^encoder\.layer\.\d+\.temporal_attention\.',
    renames=_HUGGINGFACE_VIT,
    zeros=(_TIME_BIAS,),
    names=_TIMESFORMER_NAMES,
)

VIT_MMACTION = _image_vit(
    'image ViT (mmaction2)',
    _MMCV_LAYER + r'attentions\.0\.',
    (
        (_MMCV_LAYER + r'norms\.0\.', r'blocks.\1.norm1.'),
        (_MMCV_LAYER + r'norms\.1\.', r'blocks.\1.norm2.'),
        *_mmcv_attention(0, 'attn'),
        *_MMCV_FFN,
    ),
)

VIT_MMPRETRAIN = _image_vit(
    'image ViT (mmpretrain)',
    r'^layers\.\d+\.ln1\.',
    (
        (r'^layers\.(\d+)\.ln(\d)\.', r'blocks.\1.norm\2.'),
        (r'^layers\.(\d+)\.attn\.', r'blocks.\1.attn.'),
        (r'^layers\.(\d+)\.ffn\.layers\.0\.0\.', r'blocks.\1.mlp.fc1.'),
        (r'^layers\.(\d+)\.ffn\.layers\.1\.', r'blocks.\1.mlp.fc2.'),
        (r'^ln1\.', 'norm.'),
        (r'^patch_embed\.projection\.', 'patch_embed.proj.'),
    ),
)

# Also a TimeSformer of space-only or joint attention.
VIT_HUGGINGFACE = _image_vit(
    'image ViT (HuggingFace)',
    r'^(encoder\.layer|layers)\.\d+\.attention\.'
    r'(attention\.(query|qkv)|q_proj)\.',
    _HUGGINGFACE_VIT,
    joins=(
        ('.attn.qkv.', ('.attn.query.', '.attn.key.', '.attn.value.')),
        ('.attn.qkv.', ('.attn.q_proj.', '.attn.k_proj.', '.attn.v_proj.')),
    ),
)

VIT_TIMM = _image_vit('image ViT (timm)', r'^blocks\.\d+\.attn\.')

ATA_TIMESFORMER = KeyLayout(
    'ata_mm', r'^blocks\.\d+\.temporal\.', zeros=(_TIME_BIAS,), native=True
)

# MMAction2's TimeSformer has the keys of its image ViT and more, and ours has
# those of timm's: the more specific markers come first.
TIMESFORMER = Family(
    r'^blocks\.\d+\.norm1\.',
    (
        TIMESFORMER_OFFICIAL,
        TIMESFORMER_MMACTION,
        TIMESFORMER_HUGGINGFACE,
        VIT_MMACTION,
        VIT_MMPRETRAIN,
        VIT_HUGGINGFACE,
        ATA_TIMESFORMER,
        VIT_TIMM,
    ),
)

# Image models, for ATABackbone: under ``image.`` they keep the names of the
# package that they come from.

# Buffers without learned values, which only some versions of a model save:
# batch counts, the offsets of CycleFC, the windows of Swin transformers.
CONSTANTS = (
    r'\.num_batches_tracked$',
    r'\.sfc_[hw]\.offset$',
    r'\.relative_position_index$',
    r'\.attn_mask$',
)
_TEMPORAL = r'^temporal\.'
# The classifier of an image model normalises averaged features. A backbone
# that returns feature maps has no such norm.
_FINAL_NORM = r'^image\.norm\.'


_CONVNEXT_NAMES = (
    r'^image\.stages\.\d+\.\d+\.gamma$|'
    r'^image\.(downsample_layers\.\d\.\d|norm|'
    r'stages\.\d+\.\d+\.(dwconv|norm|pwconv[12]))\.(weight|bias)$'
)
_CYCLEMLP_NAMES = (
    r'^image\.(patch_embed\.proj|norm|network\.\d+\.proj|'
    r'network\.\d+\.\d+\.(norm[12]|mlp\.fc[12]|'
    r'attn\.(mlp_c|proj|reweight\.fc[12]|sfc_[hw])))\.(weight|bias|offset)$'
)


def _image_model(
    name: str, marker: str, renames: Renames = (), **options: Any
) -> KeyLayout:
    """Return the layout of an image model.

    Temporal modules keep their initial values. They start at zero by default,
    which leaves the image model unchanged.
    """
    return KeyLayout(
        name,
        marker,
        renames=(*renames, (r'^(?!image\.)', 'image.')),
        keeps=(_TEMPORAL, *CONSTANTS),
        drops=CONSTANTS,
        **options,
    )


ATA_BACKBONE = KeyLayout(
    'ata_mm',
    _TEMPORAL,
    zeros=(_TIME_BIAS,),
    keeps=CONSTANTS,
    drops=CONSTANTS,
    native=True,
)

ATA_IMAGE = _image_model('image model (ata_mm)', r'^image\.', native=True)

CONVNEXT_OFFICIAL = _image_model(
    'ConvNeXt (official)',
    r'^stages\.\d+\.\d+\.dwconv\.',
    names=_CONVNEXT_NAMES,
)

CONVNEXT_MMPRETRAIN = _image_model(
    'ConvNeXt (mmpretrain)',
    r'^stages\.\d+\.\d+\.depthwise_conv\.',
    (
        (r'\.depthwise_conv\.', '.dwconv.'),
        (r'\.pointwise_conv(\d)\.', r'.pwconv\1.'),
        (r'^norm3\.', 'norm.'),
    ),
    names=_CONVNEXT_NAMES,
)

CONVNEXT_TIMM = _image_model(
    'ConvNeXt (timm)',
    r'^stages\.\d+\.blocks\.\d+\.conv_dw\.',
    (
        (r'^stem\.', 'downsample_layers.0.'),
        (r'^stages\.(\d+)\.downsample\.', r'downsample_layers.\1.'),
        (r'^(stages\.\d+)\.blocks\.', r'\1.'),
        (r'\.conv_dw\.', '.dwconv.'),
        (r'\.mlp\.fc(\d)\.', r'.pwconv\1.'),
        (r'^head\.norm\.', 'norm.'),
    ),
    names=_CONVNEXT_NAMES,
)

CONVNEXT_HUGGINGFACE = _image_model(
    'ConvNeXt (HuggingFace)',
    r'^encoder\.stages\.\d+\.layers\.\d+\.dwconv\.',
    (
        (r'^embeddings\.patch_embeddings\.', 'downsample_layers.0.0.'),
        (r'^embeddings\.layernorm\.', 'downsample_layers.0.1.'),
        (
            r'^encoder\.stages\.(\d+)\.downsampling_layer\.',
            r'downsample_layers.\1.',
        ),
        (r'^encoder\.(stages\.\d+)\.layers\.', r'\1.'),
        (r'\.layer_scale_parameter$', '.gamma'),
        (r'(^|\.)layernorm\.', r'\1norm.'),
    ),
    names=_CONVNEXT_NAMES,
)

CYCLEMLP_OFFICIAL = _image_model(
    'CycleMLP (official)',
    r'^network\.\d+\.\d+\.attn\.sfc_h\.',
    names=_CYCLEMLP_NAMES,
)


# Matches every key.
IMAGE_UNCHANGED = _image_model("image model, the model's own keys", '')

CONVNEXT = Family(
    r'^image\.stages\.\d+\.\d+\.dwconv\.',
    tuple(
        layout._replace(drops=(_FINAL_NORM, *CONSTANTS))
        for layout in (
            ATA_BACKBONE,
            ATA_IMAGE,
            CONVNEXT_OFFICIAL,
            CONVNEXT_MMPRETRAIN,
            CONVNEXT_TIMM,
            CONVNEXT_HUGGINGFACE,
        )
    ),
)

CYCLEMLP = Family(
    r'^image\.network\.\d+\.\d+\.attn\.sfc_h\.',
    (ATA_BACKBONE, ATA_IMAGE, CYCLEMLP_OFFICIAL),
)

IMAGE = Family(r'^image\.', (ATA_BACKBONE, ATA_IMAGE, IMAGE_UNCHANGED))

# The marker of IMAGE matches other image models too: it must be the last.
FAMILIES = (TIMESFORMER, CONVNEXT, CYCLEMLP, IMAGE)

# Layouts that keys identify without a model, which excludes IMAGE_UNCHANGED.
IDENTIFIABLE = (
    *TIMESFORMER.layouts,
    *CONVNEXT.layouts,
    *CYCLEMLP.layouts,
)


def find_family(backbone: nn.Module) -> Family:
    """Identify the family of a backbone by its parameter names.

    Args:
        backbone (nn.Module): The backbone.

    Returns:
        Family: The first of ``FAMILIES`` whose marker matches.

    Raises:
        ValueError: If no family matches.
    """
    keys = list(backbone.state_dict())
    for family in FAMILIES:
        if has_key(family.marker, keys):
            return family
    raise ValueError(
        'Expected a backbone of ata_mm (ATATimeSformer, ATABackbone, '
        'ATAConvNeXt, ATACycleMLP, ConvNeXt, CycleMLP), got '
        f'{type(backbone).__name__} with the parameters {sorted(keys)[:8]}.'
    )
