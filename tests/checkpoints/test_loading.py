# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.

import pytest
import torch
from mmaction.models import ResNet, TimeSformer
from mmaction.registry import MODELS
from mmengine.hooks import EMAHook
from mmengine.runner import Runner, load_checkpoint
from torch import nn

from ata_mm.checkpoints import (
    convert_checkpoint,
    load_pretrained,
)
from ata_mm.checkpoints.loading import as_recognizer, name_as_recognizer
from ata_mm.models.backbones.convnext import ConvNeXt
from tests.checkpoints import toys
from tests.checkpoints.toys import (
    ARCH,
    SIZES,
    Video,
    assert_equal,
    convnext,
    image_vit,
    mmpretrain_vit,
    official,
    randomized,
    recognizer,
    timesformer,
)


def test_parts_that_were_compiled_are_found():
    state, model = randomized(timesformer().state_dict()), timesformer()
    compiled = {
        k.replace('blocks.', 'blocks._orig_mod.'): v for k, v in state.items()
    }
    load_pretrained(model, compiled)
    assert_equal(model, state)


def test_nan_in_weights_is_refused():
    source = official()
    source['model.norm.weight'][3] = float('nan')
    with pytest.raises(ValueError, match='Expected finite.*model.norm.weight'):
        load_pretrained(timesformer(), source)
    with pytest.raises(ValueError, match='Expected finite.*model.norm.weight'):
        convert_checkpoint(source)


@pytest.mark.parametrize('prefix', ['', 'module.', 'module.backbone.'])
def test_prefixes_of_wrappers_do_not_matter(prefix):
    state, model = randomized(timesformer().state_dict()), timesformer()
    load_pretrained(model, {prefix + k: v for k, v in state.items()})
    assert_equal(model, state)


def test_model_in_a_wrapper():
    model, source = timesformer(), official()
    load_pretrained(nn.DataParallel(model), source)
    assert torch.equal(model.norm.weight, source['model.norm.weight'])


def test_classifier_of_as_many_classes_is_loaded():
    model, source = recognizer(), official()
    load_pretrained(model, source)
    assert torch.equal(
        model.cls_head.fc_cls.weight, source['model.head.weight']
    )


def test_classifier_of_other_classes_is_reported():
    report = load_pretrained(recognizer(7), official())
    assert '7 classes here, 5 in the checkpoint' in report.head


def test_head_without_a_bias_is_left_out():
    model, source = recognizer(), official()
    del source['model.head.bias']
    assert load_pretrained(model, source).head == 'none in the checkpoint'


@pytest.mark.parametrize('code', toys.CONVNEXT)
def test_image_model_by_itself(code, tmp_path):
    source, state = convnext(code)
    torch.save(dict(model=source), tmp_path / 'image.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'image.pth'))
    model = ConvNeXt(ARCH, init_cfg=init_cfg)
    model.init_weights()
    assert all(
        torch.equal(value, state[key])
        for key, value in model.state_dict().items()
    )


def test_a_key_that_the_model_lacks_is_an_error():
    with pytest.raises(ValueError, match='adapter.weight'):
        load_pretrained(
            timesformer(), {**official(), 'adapter.weight': torch.ones(1)}
        )


@pytest.mark.parametrize('key', ['aux.weight', 'norm.weight'])
def test_an_unknown_key_changes_nothing(key):
    model = Video(ResNet(18))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    source = {**randomized(ResNet(18).state_dict()), key: torch.ones(1)}
    with pytest.raises(ValueError, match=f'image.{key}'):
        load_pretrained(model, source)
    assert_equal(model, before)


def test_a_missing_key_is_an_error_and_changes_nothing():
    model, source = timesformer(), official()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    del source['model.blocks.0.attn.proj.bias']
    with pytest.raises(ValueError, match='blocks.0.attn.proj.bias'):
        load_pretrained(model, source)
    assert_equal(model, before)


def test_keys_of_no_known_layout_are_an_error():
    with pytest.raises(ValueError, match='conv1.weight'):
        load_pretrained(timesformer(), {'conv1.weight': torch.ones(1)})


def test_a_backbone_of_another_package_is_an_error():
    with pytest.raises(ValueError, match='got ResNet'):
        load_pretrained(ResNet(18), ResNet(18).state_dict())


@pytest.mark.parametrize('how', ['pretrained', 'init_cfg', 'list', 'prefix'])
def test_init_weights_loads_a_file(tmp_path, how):
    path, source = str(tmp_path / 'official.pyth'), official()
    stored = {f'video.{k}': v for k, v in source.items()}
    torch.save({'model_state': stored if how == 'prefix' else source}, path)
    init_cfg = dict(type='Pretrained', checkpoint=path)
    options = dict(
        pretrained=dict(pretrained=path),
        init_cfg=dict(init_cfg=init_cfg),
        list=dict(init_cfg=[init_cfg]),
        prefix=dict(init_cfg=dict(init_cfg, prefix='video')),
    )
    model = recognizer(**options[how])
    model.init_weights()
    assert torch.equal(model.backbone.norm.weight, source['model.norm.weight'])


def test_a_prefix_that_no_key_has_is_an_error(tmp_path):
    path = str(tmp_path / 'official.pyth')
    torch.save(official(), path)
    init_cfg = dict(type='Pretrained', checkpoint=path, prefix='video')
    with pytest.raises(ValueError, match="prefix 'video.' of init_cfg"):
        recognizer(init_cfg=init_cfg).init_weights()


def test_mmengine_loads_a_recognizer_of_mmaction2(tmp_path):
    peer = TimeSformer(**SIZES, num_transformer_layers=2)
    state = {
        f'backbone.{k}': v for k, v in randomized(peer.state_dict()).items()
    }
    torch.save(dict(state_dict=state), tmp_path / 'zoo.pth')
    model = recognizer()
    load_checkpoint(model, str(tmp_path / 'zoo.pth'), strict=False)
    assert torch.equal(
        model.backbone.blocks[1].norm2.weight,
        state['backbone.transformer_layers.layers.1.ffns.0.norm.weight'],
    )


def test_a_missing_key_is_an_error_in_load_state_dict():
    state = timesformer().state_dict()
    del state['blocks.1.mlp.fc1.bias']
    with pytest.raises(ValueError, match='blocks.1.mlp.fc1.bias'):
        timesformer().load_state_dict(state, strict=False)


def test_a_checkpoint_without_the_backbone_is_an_error():
    with pytest.raises(ValueError, match="start with 'backbone.'"):
        recognizer().load_state_dict(official(), strict=False)


def test_a_state_dict_of_ours_is_loaded_unchanged():
    model, state = timesformer(), randomized(timesformer().state_dict())
    model.load_state_dict(state)
    assert_equal(model, state)


@pytest.mark.parametrize('source', [official, image_vit, mmpretrain_vit])
@pytest.mark.parametrize('known', [False, True], ids=['alone', 'for a model'])
def test_a_converted_checkpoint_loads_as_its_source(source, known):
    source, ours, peer = source(), recognizer(), recognizer()
    converted, _ = convert_checkpoint(source, recognizer() if known else None)
    load_pretrained(ours, converted)
    load_pretrained(peer, source)
    assert_equal(ours.backbone, peer.backbone.state_dict())


def test_converted_keys_are_those_of_a_recognizer():
    model = recognizer()
    converted, report = convert_checkpoint(official(), model)
    assert converted.keys() == model.state_dict().keys()
    assert report.head == 'loaded, 5 classes'


def test_shapes_are_kept_without_a_model():
    converted, report = convert_checkpoint(official(num_classes=9))
    assert converted['cls_head.fc_cls.weight'].shape == (9, 24)
    assert report.head == 'kept, 9 classes'


def test_embeddings_are_fitted_to_a_model():
    model = recognizer(img_size=48, num_frames=8)
    converted, report = convert_checkpoint(official(), model)
    assert converted['backbone.time_embed'].shape[1] == 8
    assert sorted(report.interpolated) == ['pos_embed', 'time_embed']


def test_a_classifier_that_does_not_fit_is_not_converted():
    converted, report = convert_checkpoint(official(), recognizer(7))
    assert not any(key.startswith('cls_head.') for key in converted)
    assert report.head.startswith('left as initialised (7 classes here')


def test_a_head_other_than_the_classifier_is_reported():
    _, report = convert_checkpoint(image_vit())
    assert report.dropped == ['pre_logits.fc.weight']


def test_conversion_of_an_unknown_image_model_needs_a_config():
    with pytest.raises(ValueError, match='config of its ATABackbone'):
        convert_checkpoint({'layer1.0.conv1.weight': torch.ones(1)})


@pytest.mark.parametrize(
    'source, layer',
    [
        (image_vit, 'blocks.0.ls1.gamma'),
        (mmpretrain_vit, 'backbone.layers.0.gamma_1'),
        (official, 'model.blocks.0.attn.q_norm.weight'),
        (lambda: convnext()[0], 'stages.0.0.grn.weight'),
        (lambda: convnext('timm')[0], 'stages.0.blocks.0.mlp.grn.weight'),
    ],
)
def test_conversion_of_layers_that_no_backbone_has_is_refused(source, layer):
    with pytest.raises(ValueError, match=r'alone: .*; got 1 others: \['):
        convert_checkpoint({**source(), layer: torch.ones(8)})


def test_conversion_of_a_known_image_model_needs_no_model():
    source, state = convnext('timm')
    converted, report = convert_checkpoint(source)
    assert report.layout == 'ConvNeXt (timm)'
    model = Video(ConvNeXt(ARCH))
    load_pretrained(model, converted)
    assert torch.equal(
        model.image.stages[1][0].gamma, state['stages.1.0.gamma']
    )


def test_conversion_leaves_initial_values_out():
    model = nn.Module()
    model.backbone = Video(ConvNeXt(ARCH))
    converted, report = convert_checkpoint(convnext()[0], model)
    assert report.left[0].startswith('temporal.0.')
    assert all(key.startswith('backbone.image.') for key in converted)


@pytest.mark.parametrize('final_norm', [False, True])
def test_a_classifier_without_its_norm_is_reported(final_norm):
    model = nn.Module()
    model.backbone = Video(ConvNeXt(ARCH, final_norm=final_norm))
    model.cls_head = nn.Module()
    model.cls_head.fc_cls = nn.Linear(16, 10)
    source, _ = convnext('timm')
    expected = 'loaded, 10 classes'
    if not final_norm:
        expected += (
            ', without the norm in front of it (image.norm): scores differ'
        )
    assert convert_checkpoint(source, model)[1].head == expected
    assert load_pretrained(model, source).head == expected


@pytest.mark.parametrize('key', ['head.norm', 'classifier.0'])
def test_a_norm_that_only_the_image_classifier_applies_is_reported(key):
    model = nn.Module()
    image = nn.Module()
    image.conv = nn.Conv2d(3, 8, 3)
    if key == 'head.norm':
        image.head = nn.Module()
        image.head.norm = nn.LayerNorm(8)
    model.backbone = Video(image)
    model.cls_head = nn.Module()
    model.cls_head.fc_cls = nn.Linear(8, 5)
    layer = 'head.fc' if key == 'head.norm' else 'classifier.2'
    source = {
        **image.state_dict(),
        f'{key}.weight': torch.ones(8),
        f'{key}.bias': torch.ones(8),
        f'{layer}.weight': torch.ones(5, 8),
        f'{layer}.bias': torch.ones(5),
    }
    assert key in load_pretrained(model, source).head
    # Trained without it, on the features of this model.
    assert key not in load_pretrained(model, model.state_dict()).head


def with_neck(num_classes=5):
    model = recognizer(num_classes)
    model.neck = nn.Linear(24, 24)
    return model


@pytest.mark.parametrize('num_classes', [5, 7, None])
def test_conversion_keeps_a_neck(num_classes):
    state = with_neck().state_dict()
    model = with_neck(num_classes) if num_classes else None
    converted, report = convert_checkpoint(state, model)
    assert torch.equal(converted['neck.weight'], state['neck.weight'])
    assert not [key for key in report.dropped if key.startswith('neck.')]


def test_conversion_reports_a_neck_without_weights_and_of_another_shape():
    model, source = with_neck(), official()
    assert convert_checkpoint(source, model)[1].left == [
        'neck.bias',
        'neck.weight',
    ]
    source['neck.weight'] = torch.ones(2, 24)
    with pytest.raises(ValueError, match='neck.weight of shape'):
        convert_checkpoint(source, model)


def test_conversion_keeps_all_keys_of_any_recognizer():
    model = MODELS.build(
        dict(
            type='Recognizer2D',
            backbone=dict(type='ResNet', depth=18, norm_eval=False),
            neck=dict(type='ATANeck', embed_dims=512, num_segments=2),
            cls_head=dict(type='TSNHead', num_classes=5, in_channels=512),
        )
    )
    state = randomized(model.state_dict())
    converted, report = convert_checkpoint(state, model)
    assert converted.keys() == state.keys() and not report.dropped
    assert report.head == 'loaded, 5 classes'


def test_a_recognizer_has_prefixes_for_backbone_and_classifier():
    assert as_recognizer({'norm.bias': 1}, {'bias': 2}) == {
        'backbone.norm.bias': 1,
        'cls_head.fc_cls.bias': 2,
    }


@pytest.fixture
def loaded(tmp_path):
    """Load a checkpoint as load_from does, and return the recognizer."""

    def load(checkpoint, num_classes=5, hooks=(), model=None):
        torch.save(checkpoint, tmp_path / 'checkpoint.pth')
        runner = Runner(
            model or recognizer(num_classes),
            work_dir=str(tmp_path),
            custom_hooks=[*hooks, dict(type='AdaptCheckpointHook')],
            default_scope='mmaction',
            experiment_name=tmp_path.name,
        )
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):
                hook.before_run(runner)
        runner.load_checkpoint(str(tmp_path / 'checkpoint.pth'))
        return runner.model

    return load


def test_official_checkpoint_loads_into_a_recognizer(loaded):
    source = official()
    model = loaded({'model_state': source})
    assert torch.equal(model.backbone.norm.weight, source['model.norm.weight'])
    assert torch.equal(model.cls_head.fc_cls.bias, source['model.head.bias'])


def test_image_model_loads_into_a_recognizer(loaded):
    source = image_vit()
    block = loaded(source).backbone.blocks[1]
    assert torch.equal(
        block.temporal.attn.qkv.weight, source['blocks.1.attn.qkv.weight']
    )


def test_image_classifier_loads_into_a_recognizer(loaded):
    source, state = convnext()
    model = MODELS.build(
        dict(
            type='Recognizer3D',
            backbone=dict(
                type='ATAConvNeXt',
                num_frames=2,
                arch=ARCH,
                head_dims=8,
                img_size=32,
            ),
            cls_head=dict(type='I3DHead', num_classes=5, in_channels=16),
        )
    )
    loaded(dict(model=source), model=model)
    assert torch.equal(
        model.backbone.image.stages[1][1].gamma, state['stages.1.1.gamma']
    )


def test_classifier_of_other_classes_is_left_out(loaded):
    model = recognizer(7)
    before = model.cls_head.fc_cls.weight.clone()
    loaded(official(), model=model)
    assert torch.equal(model.cls_head.fc_cls.weight, before)


def test_order_of_hooks_does_not_matter(loaded):
    source = official()
    model = loaded({'model_state': source}, hooks=[dict(type='EMAHook')])
    assert torch.equal(model.backbone.norm.weight, source['model.norm.weight'])


def test_checkpoint_of_a_recognizer_is_loaded_as_it_is(loaded):
    state = recognizer().state_dict()
    model = loaded(dict(state_dict=state))
    assert torch.equal(model.backbone.norm.bias, state['backbone.norm.bias'])
    assert torch.equal(
        model.cls_head.fc_cls.weight, state['cls_head.fc_cls.weight']
    )


@pytest.mark.parametrize('prefix', ['', 'module.', 'module._orig_mod.'])
def test_a_recognizer_in_wrappers_keeps_its_neck(prefix):
    model = with_neck()
    state = randomized(model.state_dict())
    keys = {prefix + key: value for key, value in state.items()}
    assert name_as_recognizer(dict(state_dict=keys), model).keys() == (
        state.keys()
    )


def test_bare_state_dict_of_a_recognizer_keeps_its_keys():
    state = randomized(recognizer().state_dict())
    keys = dict(state)
    name_as_recognizer(keys, recognizer())
    assert keys.keys() == state.keys()


def test_nan_is_refused_before_training(loaded):
    state = randomized(recognizer().state_dict())
    state['backbone.norm.bias'][3] = float('nan')
    with pytest.raises(ValueError, match='Expected finite.*norm.bias'):
        loaded(dict(state_dict=state))


@pytest.mark.parametrize('classes', [5, 7])
def test_classifier_beside_a_named_backbone_is_loaded(loaded, classes):
    """As mmpretrain saves image classifiers."""
    state = randomized(recognizer().state_dict())
    own = {k: v for k, v in state.items() if k.startswith('backbone.')}
    weight, own['head.fc.bias'] = torch.randn(5, 24), torch.randn(5)
    own['head.fc.weight'] = weight
    model = recognizer(classes)
    before = model.cls_head.fc_cls.weight.clone()
    loaded(dict(state_dict=own), model=model)
    expected = weight if classes == 5 else before
    assert torch.equal(model.cls_head.fc_cls.weight, expected)


def test_weights_averaged_by_torch_are_loaded():
    source = timesformer()
    averaged = torch.optim.swa_utils.AveragedModel(source).state_dict()
    model = timesformer()
    report = load_pretrained(model, averaged)
    assert_equal(model, source.state_dict())
    assert report.dropped == ['n_averaged']


def test_missing_layers_are_an_error(loaded):
    with pytest.raises(ValueError, match='none for .*blocks.2'):
        loaded(official(), model=recognizer(num_layers=3))
