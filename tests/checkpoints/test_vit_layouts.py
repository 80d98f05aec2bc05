# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from ata_mm.checkpoints import load_pretrained
from ata_mm.checkpoints.layout import rename
from ata_mm.checkpoints.vit_layouts import TIMESFORMER
from tests.checkpoints.test_loading import (
    SIZES,
    build,
    official,
    randomized,
    recognizer,
)

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


def huggingface_key(key):
    """The name of one of our parameters in transformers."""
    layer, _, rest = key.partition('.')
    if layer != 'blocks':
        names = [n for n in HUGGINGFACE if key.startswith(n)]
        return 'timesformer.' + key.replace(names[0], HUGGINGFACE[names[0]])
    index, _, rest = rest.partition('.')
    name, _, kind = rest.rpartition('.')
    return f'timesformer.encoder.layer.{index}.{HUGGINGFACE[name]}.{kind}'


def huggingface(num_classes=5):
    """A checkpoint with the keys of TimesformerForVideoClassification."""
    state = randomized(build().state_dict())
    return {
        **{
            huggingface_key(k): v
            for k, v in state.items()
        }, 'classifier.weight': torch.randn(num_classes, 24),
        'classifier.bias': torch.randn(num_classes)
    }


def test_huggingface_weights_land_where_they_belong():
    model, source = recognizer(), huggingface()
    report = load_pretrained(model, source)
    assert report.layout == 'TimeSformer (HuggingFace)'
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, source[huggingface_key(key)])
    assert torch.equal(model.cls_head.fc_cls.bias, source['classifier.bias'])


def test_huggingface_model_without_a_classifier():
    source = huggingface()
    source = {
        k[len('timesformer.'):]: v
        for k, v in source.items() if not k.startswith('classifier.')
    }
    model = build()
    load_pretrained(model, source)
    assert torch.equal(model.norm.weight, source['layernorm.weight'])


def test_huggingface_model_computes_the_same():
    transformers = pytest.importorskip('transformers')
    peer = transformers.TimesformerForVideoClassification(
        transformers.TimesformerConfig(
            image_size=32,
            patch_size=8,
            num_frames=4,
            hidden_size=24,
            num_hidden_layers=2,
            num_attention_heads=3,
            intermediate_size=96,
            num_labels=5)).eval()
    for parameter in peer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model = recognizer(temporal=dict(type='TemporalAttention')).eval()
    load_pretrained(model, peer.state_dict())
    x = torch.randn(2, 3, 4, 32, 32)
    ours = model.cls_head(model.backbone(x))
    theirs = peer(pixel_values=x.transpose(1, 2)).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    'layout', TIMESFORMER.layouts, ids=lambda layout: layout.name)
def test_our_names_stay(layout):
    state = build(**SIZES).state_dict()
    assert rename(state, layout).keys() == state.keys()


def test_renaming_twice_changes_nothing():
    source, layout = official(), TIMESFORMER.layouts[0]
    once = rename({k[len('model.'):]: v for k, v in source.items()}, layout)
    assert once.keys() == rename(once, layout).keys()
    assert 'blocks.1.temporal.attn.qkv.weight' in once
