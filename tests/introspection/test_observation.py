# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from ata_mm.introspection import observe
from ata_mm.models import ATA
from ata_mm.ops import neighbour_similarity
from ata_mm.ops.matching.similarity import aggregate
from tests.visualization import models

FAMILIES = [
    (models.vit, models.clip, [(4, 4)] * 3, (4, 4)),
    (models.convnext, models.clip, [(8, 8), (4, 4), (4, 4)], (4, 4)),
    (models.cyclemlp, models.clip, [(8, 8), (4, 4)], (4, 4)),
    (models.tsn, models.images, [(2, 2)], (2, 2)),
]
families = pytest.mark.parametrize('model, inputs, grids, final', FAMILIES)


def followed(model):
    """Collect the alignments passed to the modules of a model."""
    routes = []
    for module in model.modules():
        if isinstance(module, ATA):
            module.register_forward_pre_hook(
                lambda _, args: routes.append(args[3].routes[:1])
            )
    return routes


@families
def test_every_block_has_its_grid(model, inputs, grids, final):
    seen = observe(model(), inputs())
    assert [block.grid for block in seen.blocks] == grids
    assert [block.index for block in seen.blocks] == list(range(len(grids)))
    assert seen.final.response.shape == (4, *final)


@families
def test_routes_are_those_that_the_model_follows(model, inputs, grids, final):
    model = model()
    routes = followed(model)
    seen = observe(model, inputs())
    assert len(routes) == len(grids)
    for block, expected in zip(seen.blocks, routes):
        assert torch.equal(block.alignment.routes, expected)


def test_routes_are_more_similar_than_patches_in_place():
    seen = observe(
        models.vit(dict(models.ATA, match_on='content')), models.clip()
    )
    for block in seen.blocks:
        own = block.similarity().sum()
        stay = torch.nn.functional.cosine_similarity(
            block.features[:, :-1], block.features[:, 1:], dim=-1
        ).sum()
        assert own > stay


def test_response_is_the_mean_of_the_channels():
    model, outputs = models.convnext(), []
    for module in model.backbone.temporal:
        module.register_forward_hook(
            lambda _, args, output: outputs.append(output[0].mean(-1))
        )
    seen = observe(model, models.clip())
    for block, output in zip(seen.blocks, outputs):
        torch.testing.assert_close(block.response.flatten(1), output)


def test_final_response_is_that_of_the_map_the_head_gets():
    model, maps = models.convnext(), []
    model.cls_head.register_forward_pre_hook(
        lambda _, args: maps.append(args[0])
    )
    seen = observe(model, models.clip())
    torch.testing.assert_close(seen.final.response, maps[0][0].mean(0))


@pytest.mark.parametrize('model', [models.vit, models.convnext])
@pytest.mark.parametrize('kind', ['TemporalAttention', 'TemporalAveraging'])
def test_blocks_that_do_not_align(model, kind):
    seen = observe(model(dict(type=kind)), models.clip())
    assert [block.kind for block in seen.blocks] == [kind] * 3
    assert all(block.alignment is None for block in seen.blocks)
    with pytest.raises(ValueError, match=f'that aligns.*got {kind}'):
        seen.blocks[0].similarity()


def test_blocks_that_share_an_alignment_follow_the_same_routes():
    model = models.vit(dict(models.ATA, share_alignment='stage'))
    first, *others = observe(model, models.clip()).blocks
    for block in others:
        assert torch.equal(block.alignment.routes, first.alignment.routes)
        assert not torch.equal(block.features, first.features)


def test_averaging_in_a_map_shows_the_input_of_the_block():
    model, inputs = models.convnext(dict(type='TemporalAveraging')), []
    backbone = model.backbone
    backbone.image.get_submodule(
        backbone.block_names[1]
    ).register_forward_pre_hook(lambda _, args: inputs.append(args[0].mean(1)))
    seen = observe(model, models.clip())
    torch.testing.assert_close(seen.blocks[1].response, inputs[0])


def test_joint_attention_shows_its_blocks():
    seen = observe(models.vit(dict(type='JointAttention')), models.clip())
    assert torch.equal(seen.blocks[-1].response, seen.final.response)


def test_without_dealignment_patches_are_at_their_positions():
    """Attention that adds nothing: the stream is only reordered."""
    model = models.vit(dict(type='ATA', dealign=False))
    plain = models.vit(dict(type='TemporalAttention'))
    plain.load_state_dict(model.state_dict())
    clip = models.clip()
    seen, expected = observe(model, clip), observe(plain, clip)
    for one, other in zip(
        (*seen.blocks, seen.final), (*expected.blocks, expected.final)
    ):
        torch.testing.assert_close(one.response, other.response)


def test_without_dealignment_routes_have_the_order_of_the_frames():
    model, clip = models.vit(dict(type='ATA', dealign=False)), models.clip()
    plain = models.vit(dict(type='ATA'))
    plain.load_state_dict(model.state_dict())
    for one, other in zip(
        observe(model, clip).blocks, observe(plain, clip).blocks
    ):
        assert torch.equal(one.alignment.routes, other.alignment.routes)


def test_no_hook_is_left():
    model = models.vit()
    observe(model, models.clip())
    hooks = [(m._forward_hooks, m._forward_pre_hooks) for m in model.modules()]
    assert not any(after or before for after, before in hooks)


def test_scores_are_those_of_the_model():
    model, clip = models.vit(), models.clip()
    (sample,) = model.test_step(
        dict(inputs=[clip], data_samples=[models.sample()])
    )
    assert torch.equal(observe(model, clip).scores, sample.pred_score)


def test_vectors_have_no_map():
    model = models.build(
        dict(
            type='TimeSformer',
            num_frames=4,
            img_size=32,
            patch_size=8,
            pretrained=None,
            embed_dims=32,
            num_heads=2,
            num_transformer_layers=1,
        ),
        'TimeSformerHead',
    )
    with pytest.raises(ValueError, match='returns feature maps, got an out'):
        observe(model, models.clip())


def test_options_of_the_alignment_are_those_of_the_model():
    temporal = dict(models.ATA, min_similarity=0.5, reference='first')
    for block in observe(models.vit(temporal), models.clip()).blocks:
        assert block.options['min_similarity'] == 0.5
        assert block.options['reference'] == 'first'
        assert not block.alignment.accepted.all()


def test_image_blocks_of_a_wrapped_model_are_named():
    blocks = observe(models.convnext(), models.clip()).blocks
    assert [block.before for block in blocks] == [
        'stages.0.0',
        'stages.1.0',
        'stages.1.1',
    ]


@pytest.mark.parametrize('radius', [0, 1])
def test_similarity_of_a_step_is_that_of_the_map(radius):
    temporal = dict(models.ATA, support_radius=radius)
    block = observe(models.vit(temporal), models.clip()).blocks[1]
    routes = block.alignment.routes[0]
    for t in range(3):
        steps = block.similarity_map(t)[0][routes[t], routes[t + 1]]
        torch.testing.assert_close(block.similarity()[0, t], steps)


def test_map_is_averaged_over_the_support_window():
    temporal = dict(models.ATA, support_radius=1)
    block = observe(models.vit(temporal), models.clip()).blocks[0]
    expected = aggregate(neighbour_similarity(block.features), (4, 4), 1)
    torch.testing.assert_close(block.similarity_map(2), expected[:, 2])
