# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import copy
import pickle

import pytest
import torch
from mmaction.models import TimeSformer
from mmaction.registry import MODELS
from mmengine.registry import init_default_scope

from ata_mm.checkpoints import load_pretrained
from ata_mm.models import ATATimeSformer
from ata_mm.models.temporal import AlignmentSharing

TEMPORAL = ['TemporalAveraging', 'TemporalAttention', 'ATA', 'JointAttention']


def build(temporal='ATA', randomize=True, **options):
    """Build a small model, with random weights in temporal_fc too."""
    if isinstance(temporal, str):
        temporal = dict(type=temporal)
    arguments = dict(
        num_frames=4,
        img_size=32,
        patch_size=8,
        embed_dims=24,
        num_heads=3,
        num_layers=3,
        drop_path_rate=0.0,
    )
    model = ATATimeSformer(**{**arguments, **options}, temporal=temporal)
    return randomized(model) if randomize else model


def randomized(model):
    """Draw weights at which no part of the model is negligible."""
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    return model.eval()


def clips(batch=2):
    return torch.randn(batch, 3, 4, 32, 32)


@pytest.mark.parametrize(
    'temporal, attention_type',
    [
        ('TemporalAttention', 'divided_space_time'),
        ('TemporalAveraging', 'space_only'),
        ('JointAttention', 'joint_space_time'),
    ],
)
def test_equals_timesformer_of_mmaction2(temporal, attention_type):
    peer = randomized(
        TimeSformer(
            4,
            32,
            8,
            embed_dims=24,
            num_heads=3,
            num_transformer_layers=3,
            attention_type=attention_type,
        )
    )
    model = build(temporal)
    load_pretrained(model, peer.state_dict())
    x = clips()
    torch.testing.assert_close(model(x), peer(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize('temporal', TEMPORAL)
def test_returns_one_class_token_per_clip(temporal):
    assert build(temporal)(clips()).shape == (2, 24)


@pytest.mark.parametrize('temporal', TEMPORAL)
def test_clips_of_a_batch_are_independent(temporal):
    model, x = build(temporal), clips(3)
    torch.testing.assert_close(model(x)[1:2], model(x[1:2]))


def test_is_equivariant_to_the_order_of_clips():
    model = build('TemporalAttention')
    x = clips(2)
    swapped = model(x.flip(0)).flip(0)
    torch.testing.assert_close(swapped, model(x))


def test_dealignment_does_not_change_the_class_token():
    model = build('ATA')
    ablation = build(dict(type='ATA', dealign=False))
    ablation.load_state_dict(model.state_dict())
    x = clips()
    torch.testing.assert_close(model(x), ablation(x), atol=1e-5, rtol=1e-5)


def test_alignment_changes_the_function():
    model, plain = build('ATA'), build('TemporalAttention')
    plain.load_state_dict(model.state_dict())
    x = clips()
    assert (model(x) - plain(x)).abs().max() > 0.1


@pytest.mark.parametrize('temporal', ['TemporalAttention', 'ATA'])
def test_route_encoding_is_chosen_by_config(temporal):
    model = build(dict(type=temporal, route_encoding=True))
    plain = build(temporal)
    plain.load_state_dict(model.state_dict())
    x = clips()
    assert (model(x) - plain(x)).abs().max() > 0.01


def test_temporal_blocks_select_the_blocks():
    model = build('ATA', temporal_blocks=[0, 2])
    kinds = [type(block.temporal).__name__ for block in model.blocks]
    assert kinds == ['ATA', 'TemporalAttention', 'ATA']


def test_temporal_module_is_initialised_by_its_config():
    init = dict(type='Constant', layer='Linear', val=0.5)
    model = build(dict(type='TemporalAttention', init_cfg=init))
    model.init_weights()
    assert (model.blocks[0].temporal.temporal_fc.weight == 0.5).all()
    assert not (model.blocks[0].attn.proj.weight == 0.5).any()


def test_is_built_in_any_default_scope():
    init_default_scope('mmengine')
    assert type(build('ATA').blocks[0].temporal).__name__ == 'ATA'


def test_other_temporal_is_used_in_the_other_blocks():
    model = build(
        'ATA',
        temporal_blocks=[1],
        other_temporal=dict(type='TemporalAveraging'),
    )
    kinds = [type(block.temporal).__name__ for block in model.blocks]
    assert kinds == ['TemporalAveraging', 'ATA', 'TemporalAveraging']


@pytest.mark.parametrize('position_init', ['normal', 'sincos'])
def test_position_embedding_is_initialised_at_position_std(position_init):
    model = build(
        randomize=False,
        position_std=2.0,
        embed_dims=48,
        position_init=position_init,
    )
    scale = model.pos_embed[:, 1:].square().mean().sqrt()
    assert 1.8 < scale < 2.2
    assert model.pos_embed[:, 0].abs().max() < 0.1


def test_time_embedding_is_initialised_at_time_std():
    model = build(randomize=False, time_std=2.0, embed_dims=480)
    assert 1.8 < model.time_embed.std() < 2.2


def test_one_block_that_mixes_frames_needs_a_time_embedding():
    averaging = dict(type='TemporalAveraging')
    model = build('ATA', temporal_blocks=[0], other_temporal=averaging)
    assert model.time_embed is not None
    assert build(averaging).time_embed is None


def test_refuses_an_unknown_position_init():
    with pytest.raises(ValueError, match="'sincos', got 'zeros'"):
        build(position_init='zeros')


def test_stochastic_depth_of_the_mlp_drops_clips():
    model = build('TemporalAttention', randomize=False, drop_path_rate=0.5)
    block = model.train().blocks[-1]
    torch.nn.init.zeros_(block.attn.proj.weight)
    x = torch.randn(64, 4, 17, 24)
    same = (block(x) == x)[:, :, 1:].flatten(2).all(2)  # (B, T)
    assert torch.equal(same, same[:, :1].expand_as(same))
    assert 8 < same[:, 0].sum() < 56


def test_content_is_matched_without_the_position_embedding():
    block = build(dict(type='ATA', match_on='content')).blocks[0]
    x, position = torch.randn(2, 4, 17, 24), 100 * torch.randn(1, 1, 16, 24)
    embedded = torch.cat([x[:, :, :1], x[:, :, 1:] + position], 2)
    actual, expected = (
        block.alignment(tokens, added, (4, 4), AlignmentSharing())
        for tokens, added in ((embedded, position), (x, None))
    )
    assert torch.equal(actual.routes, expected.routes)


def test_temporal_averaging_averages_the_frames():
    model, x = build('TemporalAveraging'), clips(1)
    frames = x.transpose(1, 2)[0][:, :, None]  # (T, 3, 1, H, W)
    image = build('TemporalAveraging', num_frames=1)
    image.load_state_dict(model.state_dict())
    image.norm = model.norm = torch.nn.Identity()
    torch.testing.assert_close(model(x), image(frames).mean(0, keepdim=True))


def test_image_model_is_unchanged_at_the_first_step():
    video = build('ATA', randomize=False).eval()
    image = build('TemporalAveraging', num_frames=1).eval()
    load_pretrained(video, image.state_dict())
    still = clips(1)[:, :, :1]
    torch.testing.assert_close(
        video(still.expand(-1, -1, 4, -1, -1)), image(still)
    )


def test_gradients_with_recomputation_equal_those_without():
    model = build('ATA').train()
    recomputing = build('ATA', with_cp=True).train()
    recomputing.load_state_dict(model.state_dict())
    x = clips()
    for net in (model, recomputing):
        net(x).square().sum().backward()
    for ours, theirs in zip(model.parameters(), recomputing.parameters()):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_every_parameter_gets_a_gradient():
    model = build('ATA')
    model(clips()).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    'clone',
    [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))],
    ids=['deepcopy', 'pickle'],
)
def test_copies_compute_the_same(clone):
    model, x = build('ATA'), clips()
    assert torch.equal(clone(model)(x), model(x))


def test_vit_base_has_the_size_of_the_paper():
    with torch.device('meta'):
        model = ATATimeSformer(num_frames=8)
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    head = (768 + 1) * 400 / 1e6
    assert abs(millions + head - 121.8) < 0.3  # Table 3


def test_in_a_recognizer_with_several_views():
    recognizer = MODELS.build(
        dict(
            type='Recognizer3D',
            backbone=dict(
                type='ATATimeSformer',
                num_frames=4,
                img_size=32,
                patch_size=8,
                embed_dims=24,
                num_heads=3,
                num_layers=2,
            ),
            cls_head=dict(
                type='TimeSformerHead', num_classes=5, in_channels=24
            ),
        )
    )
    feats, _ = recognizer.extract_feat(torch.randn(2, 3, 3, 4, 32, 32))
    assert feats.shape == (6, 24)


@pytest.mark.parametrize(
    'shape', [(2, 3, 5, 32, 32), (2, 3, 4, 32, 40), (2, 3, 4, 32)]
)
def test_refuses_clips_of_another_shape(shape):
    with pytest.raises(ValueError, match=r'\(B, 3, 4, 32, 32\).*num_frames'):
        build()(torch.randn(shape))


def test_refuses_an_image_size_not_divisible_into_patches():
    with pytest.raises(ValueError, match=r'\(30, 32\) and patch_size=8'):
        build(img_size=(30, 32))
