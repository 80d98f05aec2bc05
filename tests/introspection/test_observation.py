# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from ata_mm.models import ATA
from ata_mm.visualization import observe
from tests.visualization import models

FAMILIES = [(models.vit, models.clip, [(4, 4)] * 3, (4, 4)),
            (models.convnext, models.clip, [(8, 8), (4, 4), (4, 4)], (4, 4)),
            (models.cyclemlp, models.clip, [(8, 8), (4, 4)], (4, 4)),
            (models.tsn, models.images, [(2, 2)], (2, 2))]
families = pytest.mark.parametrize('model, inputs, grids, final', FAMILIES)


def taken(model):
    """Notes the alignments that the modules of a model are handed."""
    routes = []
    for module in model.modules():
        if isinstance(module, ATA):
            module.register_forward_pre_hook(
                lambda _, args: routes.append(args[3].routes[:1]))
    return routes


@families
def test_every_block_has_its_grid(model, inputs, grids, final):
    seen = observe(model(), inputs())
    assert [block.grid for block in seen.blocks] == grids
    assert [block.index for block in seen.blocks] == list(range(len(grids)))
    assert seen.final.response.shape == (4, *final)


@families
def test_routes_are_those_that_the_model_took(model, inputs, grids, final):
    model = model()
    routes = taken(model)
    seen = observe(model, inputs())
    assert len(routes) == len(grids)
    for block, expected in zip(seen.blocks, routes):
        assert torch.equal(block.alignment.routes, expected)


def test_similarity_is_what_the_matching_maximises():
    seen = observe(
        models.vit(dict(models.ATA, match_on='content')), models.clip())
    for block in seen.blocks:
        own = block.similarity().sum()
        stay = torch.nn.functional.cosine_similarity(
            block.features[:, :-1], block.features[:, 1:], dim=-1).sum()
        assert own > stay


def test_response_is_the_mean_of_the_channels():
    model, outputs = models.convnext(), []
    for module in model.backbone.temporal:
        module.register_forward_hook(
            lambda _, args, output: outputs.append(output[0].mean(-1)))
    seen = observe(model, models.clip())
    for block, output in zip(seen.blocks, outputs):
        torch.testing.assert_close(block.response.flatten(1), output)


def test_final_response_is_that_of_the_map_the_head_gets():
    model, maps = models.convnext(), []
    model.cls_head.register_forward_pre_hook(
        lambda _, args: maps.append(args[0]))
    seen = observe(model, models.clip())
    torch.testing.assert_close(seen.final.response, maps[0][0].mean(0))


@pytest.mark.parametrize('model', [models.vit, models.convnext])
@pytest.mark.parametrize('kind', ['TemporalAttention', 'TemporalAveraging'])
def test_blocks_that_do_not_align(model, kind):
    seen = observe(model(dict(type=kind)), models.clip())
    assert [block.kind for block in seen.blocks] == [kind] * 3
    assert all(block.alignment is None for block in seen.blocks)


def test_averaging_in_a_map_shows_the_input_of_the_block():
    model, inputs = models.convnext(dict(type='TemporalAveraging')), []
    backbone = model.backbone
    backbone.image.get_submodule(
        backbone.block_names[1]).register_forward_pre_hook(
            lambda _, args: inputs.append(args[0].mean(1)))
    seen = observe(model, models.clip())
    torch.testing.assert_close(seen.blocks[1].response, inputs[0])


def test_joint_attention_shows_its_blocks():
    seen = observe(models.vit(dict(type='JointAttention')), models.clip())
    assert torch.equal(seen.blocks[-1].response, seen.final.response)


def test_without_dealignment_patches_are_where_the_picture_has_them():
    """Attention that adds nothing: the stream is only put into order."""
    model = models.vit(dict(type='ATA', dealign=False))
    plain = models.vit(dict(type='TemporalAttention'))
    plain.load_state_dict(model.state_dict())
    clip = models.clip()
    seen, expected = observe(model, clip), observe(plain, clip)
    for one, other in zip((*seen.blocks, seen.final),
                          (*expected.blocks, expected.final)):
        torch.testing.assert_close(one.response, other.response)


def test_without_dealignment_routes_are_in_the_picture():
    model, clip = models.vit(dict(type='ATA', dealign=False)), models.clip()
    plain = models.vit(dict(type='ATA'))
    plain.load_state_dict(model.state_dict())
    for one, other in zip(
            observe(model, clip).blocks,
            observe(plain, clip).blocks):
        assert torch.equal(one.alignment.routes, other.alignment.routes)


def test_model_is_left_as_it_was():
    model = models.vit()
    observe(model, models.clip())
    hooks = [(m._forward_hooks, m._forward_pre_hooks) for m in model.modules()]
    assert not any(after or before for after, before in hooks)


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
            num_transformer_layers=1), 'TimeSformerHead')
    with pytest.raises(ValueError, match='returns feature maps, got an out'):
        observe(model, models.clip())
