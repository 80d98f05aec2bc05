# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Small models, and checkpoints for them in the keys of other code bases."""

import torch
from mmaction.registry import MODELS
from torch import nn

from ata_mm.checkpoints import adapt_state_dict
from ata_mm.models import ATATimeSformer
from ata_mm.models.backbones.convnext import ConvNeXt
from ata_mm.models.temporal import TemporalAttention

SIZES = dict(
    num_frames=4, img_size=32, patch_size=8, embed_dims=24, num_heads=3
)
ARCH = dict(depths=[1, 2], channels=[8, 16])

# Our names of the parameters of a TimeSformer in transformers.
HUGGINGFACE = {
    'temporal.norm': 'temporal_layernorm',
    'temporal.attn.qkv': 'temporal_attention.attention.qkv',
    'temporal.attn.proj': 'temporal_attention.output.dense',
    'temporal.temporal_fc': 'temporal_dense',
    'norm1': 'layernorm_before',
    'norm2': 'layernorm_after',
    'attn.qkv': 'attention.attention.qkv',
    'attn.proj': 'attention.output.dense',
    'mlp.fc1': 'intermediate.dense',
    'mlp.fc2': 'output.dense',
    'cls_token': 'embeddings.cls_token',
    'pos_embed': 'embeddings.position_embeddings',
    'time_embed': 'embeddings.time_embeddings',
    'patch_embed.proj': 'embeddings.patch_embeddings.projection',
    'norm': 'layernorm',
}
# Those of an image ViT in memory, by transformers 5. Its files have the above.
TRANSFORMERS_5 = {
    'encoder.layer.': 'layers.',
    'attention.attention.query.': 'attention.q_proj.',
    'attention.attention.key.': 'attention.k_proj.',
    'attention.attention.value.': 'attention.v_proj.',
    'attention.output.dense.': 'attention.o_proj.',
    'intermediate.dense.': 'mlp.fc1.',
    'output.dense.': 'mlp.fc2.',
}
# The names of the parts of a ConvNeXt in other code bases.
CONVNEXT = dict(
    official=dict(head='head'),
    mmpretrain=dict(
        dwconv='depthwise_conv',
        pwconv1='pointwise_conv1',
        pwconv2='pointwise_conv2',
        norm='norm3',
        head='head.fc',
    ),
    timm=dict(
        stem={'0': 'stem.0', '1': 'stem.1'},
        downsample='stages.1.downsample',
        block='stages.{}.blocks.{}',
        dwconv='conv_dw',
        pwconv1='mlp.fc1',
        pwconv2='mlp.fc2',
        norm='head.norm',
        head='head.fc',
    ),
    HuggingFace=dict(
        stem={'0': 'embeddings.patch_embeddings', '1': 'embeddings.layernorm'},
        downsample='encoder.stages.1.downsampling_layer',
        block='encoder.stages.{}.layers.{}',
        block_norm='layernorm',
        gamma='layer_scale_parameter',
        norm='layernorm',
        head='classifier',
    ),
)


def timesformer(temporal='ATA', **options):
    options = {**SIZES, 'num_layers': 2, **options}
    return ATATimeSformer(temporal=dict(type=temporal), **options)


def recognizer(num_classes=5, **options):
    backbone = dict(type='ATATimeSformer', num_layers=2, **SIZES)
    return MODELS.build(
        dict(
            type='Recognizer3D',
            backbone={**backbone, **options},
            cls_head=dict(
                type='TimeSformerHead', num_classes=num_classes, in_channels=24
            ),
        )
    )


class Video(nn.Module):
    """The parts of an ATABackbone that loading uses."""

    def __init__(self, image, zero_init=True, grid=None):
        super().__init__()
        self.image = image
        self.grid = grid
        self.temporal = nn.ModuleList(
            [TemporalAttention(8, 2, zero_init=zero_init)]
        )

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        adapt_state_dict(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def positions(num_tokens, grid=None):
    """A video backbone that has a position embedding alone."""
    image = nn.Module()
    image.pos_embed = nn.Parameter(torch.zeros(1, num_tokens, 8))
    return Video(image, grid=grid)


def randomized(state_dict):
    return {
        k: torch.randn_like(v) if v.is_floating_point() else v
        for k, v in state_dict.items()
    }


def official(num_classes=5):
    """A checkpoint with the keys of facebookresearch/TimeSformer."""
    names = {
        '.temporal.norm.': '.temporal_norm1.',
        '.temporal.attn.': '.temporal_attn.',
        '.temporal.temporal_fc.': '.temporal_fc.',
    }
    keys = {}
    for key, value in randomized(timesformer().state_dict()).items():
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        keys['model.' + key] = value
    keys['model.head.weight'] = torch.randn(num_classes, 24)
    keys['model.head.bias'] = torch.randn(num_classes)
    return keys


def huggingface_key(key):
    """Return the name of one of our parameters in transformers."""
    layer, _, rest = key.partition('.')
    if layer != 'blocks':
        names = [n for n in HUGGINGFACE if key.startswith(n)]
        return 'timesformer.' + key.replace(names[0], HUGGINGFACE[names[0]])
    index, _, rest = rest.partition('.')
    name, _, kind = rest.rpartition('.')
    return f'timesformer.encoder.layer.{index}.{HUGGINGFACE[name]}.{kind}'


def huggingface(num_classes=5):
    """A checkpoint with the keys of TimesformerForVideoClassification."""
    state = randomized(timesformer().state_dict())
    return {
        **{huggingface_key(k): v for k, v in state.items()},
        'classifier.weight': torch.randn(num_classes, 24),
        'classifier.bias': torch.randn(num_classes),
    }


def huggingface_vit(names=()):
    """A checkpoint with the keys of ViTModel, some of them replaced."""
    keys = {}
    for key, value in timm_vit().items():
        key = huggingface_key(key).replace('timesformer.', 'vit.')
        if '.qkv.' in key:
            for name, part in zip(('query', 'key', 'value'), value.chunk(3)):
                keys[key.replace('qkv', name)] = part
        else:
            keys[key] = value
    for theirs, others in dict(names).items():
        keys = {key.replace(theirs, others): v for key, v in keys.items()}
    return {**keys, 'vit.pooler.dense.weight': torch.randn(24, 24)}


def timm_vit():
    """An image ViT with timm's keys, without a head."""
    model = timesformer('TemporalAveraging', num_frames=1)
    return randomized(model.state_dict())


def image_vit():
    """A checkpoint with timm's keys."""
    return {
        **timm_vit(),
        'pre_logits.fc.weight': torch.randn(24, 24),
        'head.weight': torch.randn(10, 24),
        'head.bias': torch.randn(10),
    }


def mmpretrain_vit():
    """The same with mmpretrain's keys."""
    names = {
        'norm1': 'ln1',
        'norm2': 'ln2',
        'mlp.fc1': 'ffn.layers.0.0',
        'mlp.fc2': 'ffn.layers.1',
        'blocks.': 'layers.',
        'patch_embed.proj.': 'patch_embed.projection.',
    }
    keys = {}
    for key, value in timm_vit().items():
        if key.startswith('norm.'):
            key = key.replace('norm.', 'ln1.')
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        keys['backbone.' + key] = value
    return keys


def convnext_key(key, code):
    """Return the name of one of our parameters in another code base."""
    names, parts = CONVNEXT[code], key.split('.')
    if parts[0] == 'norm':
        parts[0] = names.get('norm', 'norm')
    elif parts[:2] == ['downsample_layers', '0']:
        stem = names.get('stem', {})
        parts[:3] = [stem.get(parts[2], '.'.join(parts[:3]))]
    elif parts[0] == 'downsample_layers':
        parts[:2] = [names.get('downsample', '.'.join(parts[:2]))]
    else:
        part = 'block_norm' if parts[3] == 'norm' else parts[3]
        layer = names.get(part, parts[3])
        block = names.get('block', 'stages.{}.{}').format(*parts[1:3])
        parts = [block, layer, *parts[4:]]
    return '.'.join(parts)


def convnext(code='official', num_classes=10):
    """A classifier in the keys of a code base, and its state_dict in ours."""
    state = randomized(ConvNeXt(ARCH, final_norm=True).state_dict())
    source = {convnext_key(k, code): v for k, v in state.items()}
    source[CONVNEXT[code]['head'] + '.weight'] = torch.randn(num_classes, 16)
    source[CONVNEXT[code]['head'] + '.bias'] = torch.randn(num_classes)
    return source, state


def assert_equal(model, state_dict):
    """Check that a model has exactly these parameters and buffers."""
    own = model.state_dict()
    assert own.keys() == state_dict.keys()
    for key, value in own.items():
        assert torch.equal(value, state_dict[key]), key
