# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import copy
from collections import namedtuple

import pytest
import torch
from mmaction.models import ResNet
from torch import nn

from ata_mm.apis.image_models import image_model
from ata_mm.models.backbones.wrapper import build_image_backbone
from ata_mm.models.backbones.wrapper.dry_run import (
    dry_run,
    find_blocks,
    find_layouts,
    find_output_layout,
    last_feature,
    patterns_of,
    propose_blocks,
    unused_parameters,
)
from ata_mm.models.layouts import Layout
from tests.models.backbones.toys import LastModel, MapModel, TokenModel


def run(model, img_size=(32, 32)):
    return dry_run(model, lambda x: last_feature(model(x)), img_size)


def test_records_the_input_shapes_of_modules():
    shapes = run(MapModel()).shapes
    assert shapes['stem'] == (1, 3, 32, 32)
    assert shapes['blocks.1.norm'] == (1, 16, 8, 8)
    assert 'head' not in shapes


def test_records_tensors_passed_by_keyword():
    assert run(TokenModel(keyword=True)).shapes['blocks.1'] == (1, 17, 16)


def test_does_not_change_the_model():
    model = ResNet(18, norm_eval=True, frozen_stages=2)  # special train()
    model.layer4.eval()
    before, modes = copy.deepcopy(model), [m.training for m in model.modules()]
    run(model)
    assert [m.training for m in model.modules()] == modes
    for one, other in zip(
        model.state_dict().values(), before.state_dict().values()
    ):
        assert torch.equal(one, other)
    assert all(p.requires_grad for p in model.parameters())
    assert not any(m._forward_pre_hooks for m in model.modules())


class KeptBias(nn.Module):
    """Adds a bias that it keeps while it is evaluated, as LeViT does."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.ones(1))

    @torch.no_grad()
    def train(self, mode=True):
        super().train(mode)
        if mode and hasattr(self, 'kept'):
            del self.kept
        elif not mode:
            self.kept = self.bias * 1

    def forward(self, x):
        return x + (self.bias if self.training else self.kept)


def test_a_module_may_keep_a_bias_while_it_is_evaluated():
    model = MapModel()
    model.blocks[0] = KeptBias()
    found = run(model)
    assert not hasattr(model.blocks[0], 'kept') and model.blocks[0].training
    assert not any(
        name.startswith('blocks.0')
        for name in unused_parameters(model, found.output)
    )


class SharedBlock(MapModel):
    """Model that calls its first block with maps of two sizes."""

    def forward(self, x):
        x = super().forward(x)
        return self.blocks[0](x[..., ::2, ::2])


def test_a_block_of_several_shapes_is_refused():
    found = run(SharedBlock())
    with pytest.raises(ValueError, match='blocks.0 is called with several'):
        find_layouts(['blocks.0'], found, 'auto')


def test_tokens_that_are_grouped_by_window_are_refused():
    model = TokenModel()
    model.unroll = nn.Identity()  # as in timm's Hiera
    with pytest.raises(ValueError, match=r'rows of their grid, .* by window'):
        find_layouts(['blocks.0'], run(model), 'auto')


class Nest(LastModel):
    """Of the name of timm's, whose tokens look like a map."""


def test_blocks_of_tokens_are_refused():
    with pytest.raises(ValueError, match=r'rows of their grid, .* by window'):
        find_layouts(['blocks.0'], run(Nest()), 'auto')


class Random(MapModel):
    """Model that draws random numbers in every mode."""

    def forward(self, x):
        return super().forward(x) + torch.rand(1)


def test_does_not_change_the_random_number_generator():
    model, state = Random(), torch.get_rng_state()
    run(model)
    assert torch.equal(torch.get_rng_state(), state)


def test_works_on_the_meta_device():
    with torch.device('meta'):
        model = MapModel()
        assert run(model).output.device.type == 'meta'


def test_failure_names_model_and_image():
    with pytest.raises(ValueError, match=r'ResNet.*\(1, 3, 0, 32\).*img_size'):
        run(ResNet(18), (0, 32))


def test_last_of_several_features_is_used():
    a, b = torch.zeros(1), torch.ones(1)
    assert last_feature((a, [a, b])) is b


def test_a_named_tuple_has_its_features_first():
    """Auxiliary outputs of a training follow, as those of GoogLeNet."""
    outputs = namedtuple('Outputs', ['logits', 'aux'])
    a, b = torch.zeros(1), torch.ones(1)
    assert last_feature(outputs(a, b)) is a


@pytest.mark.parametrize('output', [(), {}, None])
def test_refuses_output_without_tensor(output):
    with pytest.raises(ValueError, match='returns a tensor'):
        last_feature(output)


@pytest.mark.parametrize(
    'patterns, expected',
    [
        ('blocks.*', ['blocks.0', 'blocks.1']),
        ('b*.[1-9].conv', ['blocks.1.conv']),
        ('*', ['stem', 'blocks', 'head']),
        (['head', 'blocks.0'], ['blocks.0', 'head']),
    ],
)
def test_finds_blocks_segment_by_segment(patterns, expected):
    model = MapModel()
    assert find_blocks(model, patterns, run(model)) == expected


@pytest.mark.parametrize(
    'patterns', ['stages.*', ['blocks.*', 'x'], 'stem.*', []]
)
def test_pattern_without_match_lists_candidates(patterns):
    model = MapModel()
    with pytest.raises(ValueError, match=r'blocks, blocks.\*, blocks.\*.conv'):
        find_blocks(model, patterns, run(model))


@pytest.mark.parametrize(
    'model, expected',
    [
        (MapModel(), Layout('NCHW', 16, (8, 8))),
        (LastModel(), Layout('NHWC', 16, (8, 8))),
        (TokenModel(), Layout('NLC', 16, (4, 4), 1)),
        (TokenModel(5), Layout('NLC', 16, (4, 4), 5)),
    ],
)
def test_infers_the_layouts(model, expected):
    found = run(model)
    assert find_layouts(['blocks.1'], found, 'auto') == [expected]
    assert find_output_layout(found, 'auto') == expected


def test_uses_the_prefix_tokens_that_the_model_states():
    model = TokenModel(12)
    model.num_prefix_tokens = 12
    assert (
        find_layouts(['blocks.1'], run(model), 'auto')[0].prefix_tokens == 12
    )


def test_output_may_have_another_layout_than_the_blocks():
    model = MapModel(head=True)
    layout = find_output_layout(run(model), 'NCHW')
    assert layout == Layout('NC', 5, (1, 1))


@pytest.mark.parametrize('model', [MapModel(8), LastModel(8)])
def test_ambiguous_layout_needs_the_option(model):
    found = run(model)
    with pytest.raises(ValueError, match='input of block blocks.1'):
        find_layouts(['blocks.1'], found, 'auto')
    assert find_layouts(['blocks.1'], found, 'NHWC')[0].kind == 'NHWC'
    assert find_output_layout(found, 'NHWC').kind == 'NHWC'


@pytest.mark.parametrize('head', [False, True])
def test_refuses_a_block_whose_input_is_not_a_map(head):
    found = run(MapModel(head=head))
    with pytest.raises(ValueError, match=r'head is .*called.*: blocks, bl'):
        find_layouts(['head'], found, 'auto')


def test_finds_unused_parameters():
    model = MapModel()
    assert unused_parameters(model, run(model).output) == [
        'head.weight',
        'head.bias',
    ]
    model = ResNet(18, out_indices=(2,))
    names = unused_parameters(model, run(model).output)
    assert names and all(name.startswith('layer4.') for name in names)


@pytest.mark.parametrize('reentrant', [True, False])
def test_parameters_of_recomputed_blocks_are_used(reentrant):
    model = MapModel(recompute=dict(use_reentrant=reentrant))
    names = unused_parameters(model, run(model).output)
    assert not any(name.startswith('blocks') for name in names)


BLOCKS = {
    'timm.resnet18': 'layer*.*',
    'timm.vit_tiny_patch16_224': 'blocks.*',
    'timm.convnext_atto': 'stages.*.blocks.*',
    'timm.swin_tiny_patch4_window7_224': 'layers.*.blocks.*',
    'torchvision.mobilenet_v3_small': 'features.*',
    'torchvision.vit_b_16': 'encoder.layers.encoder_layer_*',
    'mmpretrain.swin-tiny_16xb64_in1k': 'stages.*.blocks.*',
}


@pytest.mark.parametrize('name', BLOCKS)
def test_proposes_the_blocks_of_published_models(name):
    pytest.importorskip(name.split('.')[0])
    model, method = build_image_backbone(image_model(name).config)
    found = propose_blocks(
        model,
        dry_run(
            model,
            lambda x: last_feature(getattr(model, method)(x)),
            (224, 224),
        ),
    )
    patterns = patterns_of(found, model)
    if BLOCKS[name] == 'features.*':  # without the stem and the last layer
        assert patterns == [f'features.{n}' for n in range(1, 12)]
    else:
        assert patterns == [BLOCKS[name]]


def test_proposes_blocks_and_not_their_stages():
    model = ResNet(50)
    blocks = propose_blocks(model, run(model))
    assert len(blocks) == 16 and blocks[0] == 'layer1.0'


def test_does_not_propose_a_block_of_several_shapes():
    model = ResNet(18)
    found = dry_run(
        model,
        lambda x: model(x) + model.layer1[0](x.new_zeros(1, 64, 4, 4)).mean(),
        (32, 32),
    )
    assert propose_blocks(model, found)[0] == 'layer1.1'


def test_a_model_without_repeated_blocks_has_none():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 4), torch.nn.ReLU())
    assert propose_blocks(model, run(model)) == []


@pytest.mark.parametrize(
    'names, expected',
    [
        (['layer1.0', 'layer1.1'], ['layer1.*']),
        (['layer1.1', 'layer2.0', 'layer2.1'], ['layer1.1', 'layer2.*']),
        (
            [f'layer{i}.{j}' for i in range(1, 5) for j in (0, 1)],
            ['layer*.*'],
        ),
    ],
)
def test_patterns_match_the_modules_and_no_others(names, expected):
    model = ResNet(18)
    assert patterns_of(names, model) == expected
    assert find_blocks(model, expected, run(model)) == names


def test_blocks_are_in_the_order_of_their_calls():

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.stages = nn.ModuleList(nn.Conv2d(3, 3, 1) for _ in range(2))
            self.downsample = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.stages[1](self.downsample(self.stages[0](x)))

    model = Model()
    patterns = ['downsample', 'stages.*']
    assert find_blocks(model, patterns, run(model)) == [
        'stages.0',
        'downsample',
        'stages.1',
    ]
