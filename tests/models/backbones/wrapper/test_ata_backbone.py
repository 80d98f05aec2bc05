# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from mmaction.models import ResNet
from mmaction.registry import MODELS
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from ata_mm.models import ATABackbone
from tests.models.backbones.toys import LastModel, MapModel, TokenModel

RESNET = dict(type='mmaction.ResNet', depth=18)
TOYS = [
    dict(type=MapModel),
    dict(type=LastModel),
    dict(type=TokenModel),
    dict(type=TokenModel, prefix=5, keyword=True),
]

EXACT = dict(type='ATA', matcher=dict(type='ExactMatcher'))
ATTENTION = dict(type='TemporalAttention')


def build(image=MapModel, temporal='ATA', randomize=True, **options):
    """Build a model for 4 frames whose temporal modules are not negligible."""
    image = image if isinstance(image, dict) else dict(type=image)
    if not isinstance(temporal, dict):
        temporal = dict(type=temporal)
    arguments = dict(blocks='blocks.*', num_frames=4, img_size=32, head_dims=8)
    model = ATABackbone(image, temporal=temporal, **{**arguments, **options})
    if randomize:
        for parameter in model.temporal.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    return model


def resnet(temporal='ATA', image=RESNET, **options):
    return build(
        image,
        temporal,
        blocks='layer*.*',
        img_size=64,
        head_dims=32,
        **options,
    )


def clips(batch=2, height=32, width=32):
    return torch.randn(batch, 3, 4, height, width)


def image_maps(image, x):
    """Compute the maps (B, C, T, H, W) of an image model frame by frame."""
    maps = image(x.transpose(1, 2).flatten(0, 1))
    if isinstance(image, TokenModel):
        maps = maps[-1][:, -16:].transpose(1, 2).unflatten(2, (4, 4))
    elif isinstance(image, LastModel):
        maps = maps.permute(0, 3, 1, 2)
    return maps.unflatten(0, (-1, 4)).transpose(1, 2)


@pytest.mark.parametrize('image', TOYS)
def test_averaging_equals_the_image_model_bitwise(image):
    model, x = build(image, 'TemporalAveraging').eval(), clips()
    assert torch.equal(model(x), image_maps(model.image, x))


@pytest.mark.parametrize('mode', ['train', 'eval'])
def test_averaging_equals_resnet_bitwise(mode):
    torch.manual_seed(0)
    model = resnet('TemporalAveraging')
    torch.manual_seed(0)
    image, x = ResNet(18), clips(2, 64, 64)
    for net in (model, image):
        getattr(net, mode)()
    assert torch.equal(model(x), image_maps(image, x))


@pytest.mark.parametrize('temporal', ['TemporalAttention', 'ATA'])
@pytest.mark.parametrize('image', TOYS)
def test_image_model_is_unchanged_at_the_first_step(image, temporal):
    model, x = build(image, temporal, randomize=False).eval(), clips()
    plain = build(image, 'TemporalAveraging').eval()
    plain.image.load_state_dict(model.image.state_dict())
    torch.testing.assert_close(model(x), plain(x))


@pytest.mark.parametrize('image', TOYS)
def test_frames_see_only_frames_of_their_clip(image):
    model, x = build(image).eval(), clips(3)
    other = x.clone()
    other[1, :, 2] += torch.randn(3, 32, 32)
    change = (model(x) - model(other)).abs().amax((1, 3, 4))  # (B, T)
    assert (change[1] > 1e-3).all() and not change[[0, 2]].any()


@pytest.mark.parametrize('image', TOYS)
def test_temporal_module_gets_the_same_patches_in_every_layout(image):
    model, x = build(image).eval(), clips()
    seen = []
    model.temporal[0].register_forward_pre_hook(
        lambda _, args: seen.append(args[0])
    )
    model(x)
    embed = getattr(model.image, 'embed', getattr(model.image, 'stem', None))
    maps = embed(x.transpose(1, 2).flatten(0, 1))
    patches = maps.flatten(2).transpose(1, 2).unflatten(0, (2, 4))
    torch.testing.assert_close(seen[0], patches)


def test_parameter_names_of_the_image_model_are_kept():
    model = resnet()
    assert model.image.state_dict().keys() == ResNet(18).state_dict().keys()
    names = {key.split('.')[0] for key in model.state_dict()}
    assert names == {'image', 'temporal'}


def test_temporal_blocks_select_the_blocks():
    model = resnet(temporal_blocks=[0, 7])
    kinds = [type(module).__name__ for module in model.temporal]
    assert kinds == ['ATA', *['TemporalAttention'] * 6, 'ATA']


@pytest.mark.parametrize(
    'temporal, options, sees',
    [
        (EXACT, {}, False),
        (EXACT, dict(route_encoding=True), True),
        (EXACT, dict(time_bias_slopes=(2.0, 0.25)), True),
        (ATTENTION, {}, False),
        (ATTENTION, dict(route_encoding=True), False),  # nothing moves
        (ATTENTION, dict(time_bias_slopes=(2.0, 0.25)), True),
    ],
)
def test_what_sees_the_order_of_the_frames(temporal, options, sees):
    model, x = resnet(dict(temporal, **options)).eval(), clips(1, 64, 64)
    mean, reverse = (model(one).mean(2) for one in (x, x.flip(2)))
    assert torch.allclose(mean, reverse, atol=1e-4) is not sees


@pytest.mark.parametrize('encodes', [True, False])
def test_other_blocks_have_the_same_encoding(encodes):
    model = resnet(
        dict(type='ATA', route_encoding=encodes), temporal_blocks=[0]
    )
    assert {module.route_encoding for module in model.temporal} == {encodes}


def test_averaging_registers_no_hook():
    model = resnet(
        temporal_blocks=[7], other_temporal=dict(type='TemporalAveraging')
    )
    hooked = [
        name
        for name, module in model.image.named_modules()
        if module._forward_pre_hooks
    ]
    assert hooked == ['layer4.1']
    assert sum(p.numel() for p in model.temporal.parameters()) < 6 * 512**2


def test_stochastic_depth_grows_with_depth():
    model = resnet(drop_path_rate=0.7)
    rates = [module.drop_path.drop_prob for module in model.temporal]
    assert rates == pytest.approx([i / 10 for i in range(8)])


def test_heads_have_32_channels_by_default():
    heads = [module.attn.num_heads for module in resnet().temporal]
    assert heads == [2, 2, 2, 4, 4, 8, 8, 16]


def test_maps_may_be_of_another_size():
    assert resnet()(clips(1, 96, 64)).shape == (1, 512, 4, 3, 2)


def test_tokens_alone_have_a_fixed_grid():
    assert build(TokenModel).grid == (4, 4)
    assert build(MapModel).grid is None


@pytest.mark.parametrize('image', TOYS[2:])
def test_returns_the_class_token_of_each_frame(image):
    model, x = build(image, output='cls_token').eval(), clips()
    tokens = model(x)
    expected = model.image(x.transpose(1, 2).flatten(0, 1))[-1][:, 0]
    assert tokens.shape == (2, 16, 4, 1, 1)
    assert torch.equal(tokens[1, :, 2, 0, 0], expected[6])


def test_vectors_of_an_image_model_become_maps_of_one_patch():
    model = build(dict(type=MapModel, head=True))
    assert model(clips()).shape == (2, 5, 4, 1, 1)


@pytest.mark.parametrize('image', TOYS)
def test_every_parameter_in_use_gets_a_gradient(image):
    model = build(image)
    model(clips()).square().sum().backward()
    for name, parameter in model.named_parameters():
        used = parameter.grad is not None and parameter.grad.isfinite().all()
        assert used if parameter.requires_grad else 'head' in name


def test_unused_parameters_are_frozen_and_logged(monkeypatch):
    logged = []
    monkeypatch.setattr(
        'ata_mm.models.backbones.wrapper.ata_backbone.print_log',
        lambda text, logger: logged.append(text),
    )
    model = build(MapModel)
    frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
    assert frozen == ['image.head.weight', 'image.head.bias']
    assert "['head.weight', 'head.bias']" in logged[0]


def test_parameters_in_use_are_found_without_gradients():
    with torch.no_grad():
        model = build(MapModel, randomize=False)
    frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
    assert frozen == ['image.head.weight', 'image.head.bias']


RECOMPUTING = {
    'temporal': dict(with_cp=True),
    'image': dict(recompute=dict(use_reentrant=False)),
    'reentrant': dict(recompute=dict(use_reentrant=True)),
    'both': dict(recompute=dict(use_reentrant=False), with_cp=True),
}


@pytest.mark.parametrize('how', RECOMPUTING)
def test_gradients_with_recomputation_equal_those_without(how):
    options = dict(RECOMPUTING[how])
    image = dict(type=MapModel, recompute=options.pop('recompute', None))
    model, recomputing = build(), build(image, **options)
    recomputing.load_state_dict(model.state_dict())
    x = clips()
    for net in (model, recomputing):
        net.train()(x).square().mean().backward()
    for ours, theirs in zip(model.parameters(), recomputing.parameters()):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_refuses_to_share_alignments_in_recomputed_blocks():
    image = dict(type=MapModel, recompute=dict(use_reentrant=False))
    cfg = dict(type='ATA', share_alignment=2)
    model = ATABackbone(
        image, 'blocks.*', 4, img_size=32, head_dims=8, temporal=cfg
    )
    loss = model.train()(clips()).square().mean()
    with pytest.raises(ValueError, match='with_cp=True of the backbone'):
        loss.backward()


def test_resnet_recomputes_its_blocks():
    one = dict(num_stages=1, out_indices=(0,), strides=(1,), dilations=(1,))
    image = dict(RESNET, depth=50, **one)
    grads = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        model = resnet(image=dict(image, with_cp=with_cp)).train()
        model(clips(1, 64, 64)).square().mean().backward()
        grads.append([p.grad for p in model.parameters()])
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize(
    'clone',
    [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))],
    ids=['deepcopy', 'pickle'],
)
def test_copies_have_temporal_modules_of_their_own(clone):
    model, x = build().eval(), clips()
    twin, before = clone(model), model(x)
    assert torch.equal(twin(x), before)
    torch.nn.init.ones_(twin.temporal[0].temporal_fc.weight)
    assert torch.equal(model(x), before) and not torch.equal(twin(x), before)


SHARED = dict(type='ATA', share_alignment='stage')


@pytest.mark.parametrize(
    'temporal', ['TemporalAttention', 'ATA', SHARED], ids=str
)
def test_compiles_into_one_graph_for_any_batch(temporal):
    model = build(temporal=temporal).eval()
    compiled = torch.compile(model, backend='eager', fullgraph=True)
    for batch in (2, 3):  # the second one makes the batch symbolic
        x = clips(batch)
        torch.testing.assert_close(compiled(x), model(x))


def test_threads_share_no_routes():
    model = build(temporal=SHARED).eval()
    batches = [clips() for _ in range(16)]
    with torch.no_grad():
        expected = [model(x) for x in batches]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(torch.no_grad()(model), batches))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('image', TOYS)
def test_a_position_embedding_that_is_not_known_is_not_subtracted(image):
    temporal = dict(type='ATA', match_on='content')
    if image['type'] is not TokenModel:
        build(image, temporal)
        return
    with pytest.raises(ValueError, match='use ATATimeSformer'):
        build(image, temporal)


def test_train_leaves_frozen_stages_frozen():
    model = resnet(image=dict(RESNET, frozen_stages=1, norm_eval=True)).train()
    assert not any(p.requires_grad for p in model.image.layer1.parameters())
    assert not model.image.layer4[0].conv1.bn.training
    assert model.temporal[0].training


def test_training_a_frozen_image_model_changes_the_temporal_modules_alone():
    model = resnet(freeze_image=True).train()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    model(torch.randn(2, 3, 4, 64, 64)).square().mean().backward()
    optimizer.step()
    changed = {
        name.split('.')[0]
        for name, value in model.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed == {'temporal'}


def test_frozen_norms_keep_their_statistics_from_the_start():
    model = resnet(freeze_image=True)
    before = copy.deepcopy(model.image.state_dict())
    model(clips())
    after = model.image.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_can_be_copied_after_a_forward_pass():
    soft = dict(type='ATA', matcher='SinkhornMatcher')
    model = resnet(soft).eval()
    x = clips()
    out = model(x)  # with a graph of autograd
    assert torch.equal(copy.deepcopy(model)(x), out)


def test_the_image_model_alone_does_not_follow_routes_of_the_last_clip():
    temporal = dict(type='ATA', share_alignment='stage')
    model = build(RESNET, temporal, blocks='layer1.*', head_dims=32).eval()
    x, other = clips(), clips()
    expected = model(x)
    model(other)
    image_maps(model.image, other)
    maps = image_maps(model.image, x)
    torch.testing.assert_close(maps, expected)


def test_a_forward_pass_that_fails_leaves_no_routes():
    shared = dict(type='ATA', share_alignment='stage')
    model = resnet(shared).eval()
    handle = model.image.layer4.register_forward_pre_hook(lambda *call: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model(clips())
    handle.remove()
    assert model.forward_pass.sharing._alignment is None


class ReturnsMap(TokenModel):
    """Tokens in the blocks, a map at the end."""

    def forward(self, x):
        tokens = super().forward(x)[-1][:, 1:]
        return tokens.transpose(1, 2).unflatten(2, (4, 4))


def test_grid_of_position_embeddings_is_that_of_the_tokens():
    assert build(ReturnsMap).grid == build(TokenModel).grid == (4, 4)
    assert build(MapModel).grid is None


def test_channels_last_changes_the_memory_format_alone():
    model = resnet().double()
    other = resnet(channels_last=True).double()
    other.load_state_dict(model.state_dict())
    formats = []
    other.image.layer3.register_forward_hook(
        lambda module, args, out: formats.append(
            out.is_contiguous(memory_format=torch.channels_last)
        )
    )
    x = torch.randn(2, 3, 4, 64, 64, dtype=torch.float64)
    torch.testing.assert_close(other(x), model(x))
    assert formats == [True]


def test_init_weights_initialises_the_image_model():
    cfg = dict(RESNET, init_cfg=dict(type='Constant', layer='Conv2d', val=3.0))
    model = resnet(image=cfg, randomize=False)
    model.init_weights()
    assert (model.image.layer1[0].conv1.conv.weight == 3).all()
    assert not model.temporal[0].temporal_fc.weight.any()


@pytest.mark.parametrize('argument', ['pretrained', 'load_state_dict'])
def test_loads_checkpoints_of_the_image_model(argument, tmp_path):
    image, path = ResNet(18), tmp_path / 'resnet.pth'
    torch.save(image.state_dict(), path)
    if argument == 'pretrained':
        model = resnet(randomize=False, pretrained=str(path))
        model.init_weights()
    else:
        model = resnet(randomize=False)
        model.load_state_dict(torch.load(path))
    image.eval()
    x = clips(1, 64, 64)
    torch.testing.assert_close(model.eval()(x), image_maps(image, x))


def test_own_checkpoints_load_unchanged():
    model, twin = build(), build()
    twin.load_state_dict(model.state_dict())
    x = clips()
    assert torch.equal(twin.eval()(x), model.eval()(x))


def test_is_built_in_any_default_scope():
    init_default_scope('mmengine')
    assert type(resnet().temporal[0]).__name__ == 'ATA'


def test_is_built_on_the_meta_device():
    with torch.device('meta'):
        model = ATABackbone(dict(RESNET, depth=50), 'layer*.*', 8)
    assert all(p.is_meta for p in model.parameters())
    assert len(model.temporal) == 16


def test_in_a_recognizer_with_several_views():
    recognizer = MODELS.build(
        dict(
            type='Recognizer3D',
            backbone=dict(
                type='ATABackbone',
                image_backbone=RESNET,
                blocks='layer4.*',
                num_frames=4,
                img_size=64,
            ),
            cls_head=dict(type='I3DHead', num_classes=5, in_channels=512),
        )
    )
    feats, _ = recognizer.extract_feat(torch.randn(2, 3, 3, 4, 64, 64))
    assert recognizer.cls_head(feats).shape == (6, 5)


@pytest.mark.parametrize(
    'shape', [(2, 3, 5, 64, 64), (2, 3, 64, 64), (2, 1, 4, 64, 64)]
)
def test_refuses_clips_of_another_shape(shape):
    with pytest.raises(ValueError, match=r'\(B, 3, 4, H, W\).*num_frames'):
        resnet()(torch.randn(shape))


def test_refuses_images_of_another_size_if_the_grid_is_fixed():
    with pytest.raises(ValueError, match=r'\(B, 3, 4, 32, 32\).*img_size'):
        build(TokenModel)(clips(1, 32, 64))


def test_pattern_without_match_lists_candidates():
    with pytest.raises(ValueError, match=r'layer\*, .*layer\*.\*,'):
        build(RESNET, blocks='stages.*.*')


def test_refuses_head_dims_that_do_not_divide_the_channels():
    with pytest.raises(
        ValueError, match=r'a block of 16 .* one of \[1, 2, 4, 8, 16\]'
    ):
        build(head_dims=24)
    build(temporal='TemporalAveraging', head_dims=24)


def test_num_heads_of_the_config_overrides_head_dims():
    cfg = dict(type='ATA', num_heads=4)
    model = ATABackbone(
        dict(type=MapModel), 'blocks.*', 4, img_size=32, temporal=cfg
    )
    assert model.temporal[0].attn.num_heads == 4


@pytest.mark.parametrize(
    'output, match', [('cls_token', 'class token'), ('tokens', "got 'tokens'")]
)
def test_refuses_an_output_that_the_model_does_not_have(output, match):
    with pytest.raises(ValueError, match=match):
        build(MapModel, output=output)


@pytest.mark.parametrize(
    'name, encoded', [('ATABackbone', True), ('ATAConvNeXt', False)]
)
def test_route_encoding_is_on_except_in_models_of_the_paper(name, encoded):
    options = dict(num_frames=4, img_size=32)
    if name == 'ATABackbone':
        options.update(image_backbone=RESNET, blocks='layer4.*')
    else:
        options.update(arch=dict(depths=[1], channels=[32]))
    model = MODELS.build(dict(type=name, **options))
    assert model.temporal[0].route_encoding is encoded


def test_head_dims_that_fit_all_blocks_are_named():
    with pytest.raises(ValueError, match=r'one of \[1, 2, .*, 64\]'):
        build(RESNET, blocks='layer*.*', head_dims=48)


def test_large_maps_are_named_before_they_are_matched(caplog):
    MMLogger.get_current_instance().addHandler(caplog.handler)
    size = dict(img_size=288, head_dims=32)  # 72 x 72 patches at first
    build(RESNET, blocks='layer1.*', **size)
    assert 'Up to 5184 patches a frame' in caplog.text
    assert 'use a smaller img_size' in caplog.text
    caplog.clear()
    build(RESNET, blocks='layer*.*', **size)
    assert "blocks=['layer2.1', 'layer3.*', 'layer4.*']" in caplog.text
    caplog.clear()
    build(RESNET, 'TemporalAttention', blocks='layer*.*', **size)
    displaced = dict(type='ATA', matcher='DisplacementMatcher')
    build(RESNET, displaced, blocks='layer*.*', **size)
    assert 'patches a frame' not in caplog.text
    MMLogger.get_current_instance().removeHandler(caplog.handler)
