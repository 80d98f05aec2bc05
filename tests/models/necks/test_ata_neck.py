# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

from ata_mm.models import ATANeck

ATA = dict(type='ATA', zero_init=False)
AVERAGING = dict(type='TemporalAveraging')


def neck(embed_dims=64, temporal=ATA, **options):
    return ATANeck(embed_dims, temporal=temporal, **options).eval()


def tsn(neck=None, **backbone):
    """Build TSN on ResNet-18, whose last feature map has 512 channels."""
    model = MODELS.build(
        dict(
            type='Recognizer2D',
            backbone=dict(type='ResNet', depth=18, **backbone),
            neck=neck and dict(type='ATANeck', embed_dims=512, **neck),
            cls_head=dict(type='TSNHead', num_classes=5, in_channels=512),
        )
    )
    torch.nn.init.normal_(model.cls_head.fc_cls.weight, std=0.1)
    return model.eval()


def slow_only(neck):
    """Build a small SlowOnly network, with 256 channels and all frames."""
    backbone = dict(
        type='ResNet3dSlowOnly',
        depth=50,
        pretrained=None,
        base_channels=8,
        conv1_kernel=(1, 7, 7),
    )
    head = dict(type='I3DHead', num_classes=5, in_channels=256)
    neck = dict(type='ATANeck', embed_dims=256, **neck)
    return MODELS.build(
        dict(type='Recognizer3D', backbone=backbone, neck=neck, cls_head=head)
    )


RECOGNIZERS = [(tsn, (2, 4, 3, 64, 64)), (slow_only, (2, 1, 3, 4, 64, 64))]
both = pytest.mark.parametrize('recognizer, shape', RECOGNIZERS)


def videos(batch=2, views=4):
    return torch.randn(batch, views, 3, 64, 64)


def labels(batch=2):
    return [ActionDataSample().set_gt_label(i) for i in range(batch)]


def scores(model, x):
    results = model(x, labels(len(x)), mode='predict')
    return torch.stack([result.pred_score for result in results])


@pytest.mark.parametrize(
    'form', [lambda x: x, lambda x: (x[:, :1], x)], ids=['tensor', 'stages']
)
def test_keeps_the_shape_of_the_last_feature_map(form):
    x = torch.randn(2, 64, 4, 2, 3)
    y, loss_aux = neck()(form(x))
    assert y.shape == x.shape and loss_aux == {}


def test_equals_its_blocks_on_the_patches_of_each_clip():
    module, x = neck(num_blocks=2, num_segments=4), torch.randn(2, 64, 8, 2, 3)
    y, _ = module(x)
    patches = x[1, :, 4:].flatten(2).permute(1, 2, 0)[None]  # (1, T, N, C)
    for block in module.blocks:
        patches = block(patches)
    torch.testing.assert_close(
        y[1, :, 4:].flatten(2).permute(1, 2, 0), patches[0]
    )


def test_matcher_gets_the_grid():
    module = neck(temporal=AVERAGING)
    seen = []
    module.blocks[0].register_forward_hook(
        lambda module, inputs, _: seen.append(inputs[2])
    )
    module(torch.randn(1, 64, 4, 2, 3))
    assert seen == [(2, 3)]


def test_starts_as_the_identity_and_learns():
    module, x = neck(temporal=None), torch.randn(2, 64, 4, 2, 3)
    y, _ = module(x)
    assert torch.equal(y, x)
    y.square().sum().backward()
    assert module.blocks[0].temporal_fc.weight.grad.abs().max() > 0


def test_adds_five_times_the_squared_channels_per_block():
    weights = [p for p in neck(num_blocks=3).parameters() if p.ndim == 2]
    assert sum(p.numel() for p in weights) == 3 * 5 * 64**2


def test_temporal_module_knows_the_number_of_frames():
    module = neck(temporal=dict(ATA, time_bias_std=1.0), num_segments=8)
    assert module.blocks[0].time_bias.shape == (2, 15)


@pytest.mark.parametrize('batch, views', [(1, 4), (2, 4), (2, 24)])
def test_averaging_has_the_scores_of_tsn_bitwise(batch, views):
    model = tsn(dict(num_segments=4, temporal=AVERAGING))
    plain, x = tsn(), videos(batch, views)
    plain.load_state_dict(model.state_dict())
    assert torch.equal(scores(model, x), scores(plain, x))


def test_averaging_has_the_loss_of_tsn_bitwise():
    model = tsn(dict(num_segments=4, temporal=AVERAGING)).train()
    plain, x = tsn().train(), videos()
    plain.load_state_dict(model.state_dict())
    losses = []
    for net in (model, plain):
        torch.manual_seed(0)  # for the dropout
        losses.append(net(x, labels(), mode='loss')['loss_cls'])
    assert torch.equal(*losses)


def test_trained_tsn_is_unchanged_at_the_first_step():
    model, plain, x = tsn(dict(num_segments=4)), tsn(), videos(2, 8)
    model.load_state_dict(plain.state_dict(), strict=False)
    assert torch.equal(scores(model, x), scores(plain, x))


@pytest.mark.parametrize(
    'option, distinguishes',
    [
        (dict(), False),
        (dict(time_bias_std=1.0), True),
        (dict(route_encoding=True), True),
    ],
)
def test_encodings_distinguish_the_direction_of_time(option, distinguishes):
    module = neck(temporal=dict(ATA, **option), num_segments=4)
    x = torch.randn(1, 64, 4, 2, 3)
    mean, reverse = (module(i)[0].mean(2) for i in (x, x.flip(2)))
    assert torch.allclose(mean, reverse, atol=1e-5) is not distinguishes


def test_stochastic_depth_has_the_rate_of_the_config():
    module = neck(num_blocks=2, drop_path_rate=0.3)
    rates = [block.drop_path.drop_prob for block in module.blocks]
    assert rates == [0.3, 0.3]


def test_route_encoding_is_on_by_default():
    assert neck(temporal=None).blocks[0].route_encoding


@both
def test_every_parameter_gets_a_gradient(recognizer, shape):
    model = recognizer(dict(num_segments=4, temporal=ATA)).train()
    losses = model(torch.randn(shape), labels(), mode='loss')
    losses['loss_cls'].backward()
    assert all(p.grad.abs().sum() > 0 for p in model.neck.parameters())
    assert all(p.grad is not None for p in model.backbone.parameters())


@both
def test_videos_of_a_batch_are_independent(recognizer, shape):
    model = recognizer(dict(num_segments=4, temporal=ATA)).eval()
    x = torch.randn(shape)
    torch.testing.assert_close(scores(model, x)[1:], scores(model, x[1:]))


def test_crops_are_independent():
    model, x = tsn(dict(num_segments=4, temporal=ATA)), videos(2, 12)
    together, _ = model.extract_feat(x, test_mode=True)
    crops = x.unflatten(1, (3, 4)).flatten(0, 1)  # (B*3, T, 3, H, W)
    apart, _ = model.extract_feat(crops)
    torch.testing.assert_close(together, apart)


@pytest.mark.parametrize('shape', [(2, 32, 4, 2, 3), (2, 64, 2, 3)])
def test_refuses_other_feature_maps(shape):
    with pytest.raises(ValueError, match=r'\(B, 64, frames.*embed_dims'):
        neck()(torch.randn(shape))


def test_refuses_an_incomplete_clip():
    # Twelve frames are one and a half clips, though two videos are three.
    with pytest.raises(ValueError, match='num_segments=8.*got 12.*num_clips'):
        neck(num_segments=8)(torch.randn(2, 64, 12, 2, 3))


@pytest.mark.parametrize(
    'options',
    [
        dict(head_dims=48),
        dict(head_dims=0),
        dict(num_blocks=0),
        dict(num_segments=0),
    ],
)
def test_refuses_impossible_options(options):
    with pytest.raises(ValueError, match=f'Expected.*{list(options)[0]}'):
        neck(**options)
