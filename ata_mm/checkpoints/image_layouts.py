# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Key layouts of published image models, for ``ATABackbone``.

After ``image.``, a model's own names are those of facebookresearch/ConvNeXt,
of ShoufaChen/CycleMLP, or of the package that a model of another scope comes
from. Other sources of names: ConvNeXt in mmpretrain 1.2.0 and in timm.
"""
from .layout import Family, KeyLayout, Renames

# Buffers with nothing learned in them, which some versions of a model save:
# batch counts, where CycleFC looks, the windows of Swin transformers.
_CONSTANTS = (r'\.num_batches_tracked$', r'\.sfc_[hw]\.offset$',
              r'\.relative_position_index$', r'\.attn_mask$')
# An image model knows nothing of time, and modules with a zero start leave it
# as it was.
_TEMPORAL = r'^temporal\.'
# A classifier normalises the averaged features; our feature maps go without.
_FINAL_NORM = r'^image\.norm\.'


def _image_layout(name: str, marker: str, renames: Renames = ()) -> KeyLayout:
    """The image model alone; temporal modules stay as initialised."""
    return KeyLayout(
        name,
        marker,
        renames=(*renames, (r'^(?!image\.)', 'image.')),
        keeps=(_TEMPORAL, *_CONSTANTS),
        drops=_CONSTANTS)


def _drop_final_norm(layout: KeyLayout) -> KeyLayout:
    return layout._replace(drops=(_FINAL_NORM, *_CONSTANTS))


OURS = KeyLayout(
    'ata_mm',
    _TEMPORAL,
    zeros=(r'\.time_bias$', ),
    keeps=_CONSTANTS,
    drops=_CONSTANTS)

OUR_IMAGE = _image_layout('image model (ata_mm)', r'^image\.')

CONVNEXT_OFFICIAL = _image_layout('ConvNeXt (official)',
                                  r'^stages\.\d+\.\d+\.dwconv\.')

CONVNEXT_MMPRETRAIN = _image_layout(
    'ConvNeXt (mmpretrain)', r'^stages\.\d+\.\d+\.depthwise_conv\.', (
        (r'\.depthwise_conv\.', '.dwconv.'),
        (r'\.pointwise_conv(\d)\.', r'.pwconv\1.'),
        (r'^norm3\.', 'norm.'),
    ))

CONVNEXT_TIMM = _image_layout(
    'ConvNeXt (timm)', r'^stages\.\d+\.blocks\.\d+\.conv_dw\.', (
        (r'^stem\.', 'downsample_layers.0.'),
        (r'^stages\.(\d+)\.downsample\.', r'downsample_layers.\1.'),
        (r'^(stages\.\d+)\.blocks\.', r'\1.'),
        (r'\.conv_dw\.', '.dwconv.'),
        (r'\.mlp\.fc(\d)\.', r'.pwconv\1.'),
        (r'^head\.norm\.', 'norm.'),
    ))

CYCLEMLP_OFFICIAL = _image_layout('CycleMLP (official)',
                                  r'^network\.\d+\.\d+\.attn\.sfc_h\.')

UNCHANGED = _image_layout("image model, the model's own keys", '')

CONVNEXT = Family(
    r'^image\.stages\.\d+\.\d+\.dwconv\.',
    tuple(
        map(_drop_final_norm, (OURS, OUR_IMAGE, CONVNEXT_OFFICIAL,
                               CONVNEXT_MMPRETRAIN, CONVNEXT_TIMM))))

CYCLEMLP = Family(r'^image\.network\.\d+\.\d+\.attn\.sfc_h\.',
                  (OURS, OUR_IMAGE, CYCLEMLP_OFFICIAL))

IMAGE = Family(r'^image\.', (OURS, OUR_IMAGE, UNCHANGED))
