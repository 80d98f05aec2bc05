# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from ata_mm.models.layouts import Layout, find_layout

LAYOUTS = {
    'NCHW': (Layout('NCHW', 6, (4, 5)), (8, 6, 4, 5)),
    'NHWC': (Layout('NHWC', 6, (4, 5)), (8, 4, 5, 6)),
    'NLC': (Layout('NLC', 6, (4, 5)), (8, 20, 6)),
    'NLC with prefix': (Layout('NLC', 6, (4, 5), 2), (8, 22, 6)),
    'NC': (Layout('NC', 6, (1, 1)), (8, 6)),
}


@pytest.fixture(params=LAYOUTS)
def example(request):
    layout, shape = LAYOUTS[request.param]
    return layout, torch.randn(shape)


def test_merge_undoes_split(example):
    layout, x = example
    patches, grid = layout.split(x, 4)
    assert patches.shape == (2, 4, grid[0] * grid[1], 6)
    assert torch.equal(layout.merge(patches, x), x)


def test_split_returns_the_same_patches_from_every_layout():
    maps = torch.randn(8, 6, 4, 5)
    same = [maps, maps.permute(0, 2, 3, 1), maps.flatten(2).transpose(1, 2)]
    kinds = ['NCHW', 'NHWC', 'NLC']
    split = [LAYOUTS[kind][0].split(x, 4) for kind, x in zip(kinds, same)]
    assert all(torch.equal(one[0], split[0][0]) for one in split)
    assert all(one[1] == (4, 5) for one in split)
    assert torch.equal(split[0][0][1, 2, 7], maps[6, :, 1, 2])


def test_merge_keeps_the_prefix_tokens_of_each_frame():
    layout, shape = LAYOUTS['NLC with prefix']
    x = torch.randn(shape)
    patches, _ = layout.split(x, 4)
    merged = layout.merge(torch.zeros_like(patches), x)
    assert torch.equal(merged[:, :2], x[:, :2])
    assert not merged[:, 2:].any()


@pytest.mark.parametrize(
    'order', [torch.contiguous_format, torch.channels_last]
)
def test_merge_keeps_the_memory_format(order):
    layout, shape = LAYOUTS['NCHW']
    x = torch.randn(shape).contiguous(memory_format=order)
    merged = layout.merge(layout.split(x, 4)[0], x)
    assert merged.stride() == x.stride()


def test_maps_may_be_of_another_size():
    patches, grid = LAYOUTS['NHWC'][0].split(torch.randn(8, 7, 9, 6), 4)
    assert patches.shape == (2, 4, 63, 6) and grid == (7, 9)


@pytest.mark.parametrize(
    'shape', [(8, 21, 6), (8, 20, 7), (8, 4, 5, 6), (6, 20, 6)]
)
def test_split_refuses_another_layout(shape):
    with pytest.raises(ValueError, match=r'\(B\*T, 20, 6\).*num_frames = 4'):
        LAYOUTS['NLC'][0].split(torch.randn(shape), 4)


@pytest.mark.parametrize(
    'shape, img_size, expected',
    [
        ((1, 96, 56, 56), (224, 224), Layout('NCHW', 96, (56, 56))),
        ((1, 56, 56, 96), (224, 224), Layout('NHWC', 96, (56, 56))),
        ((1, 8, 7, 10), (224, 320), Layout('NCHW', 8, (7, 10))),
        ((1, 7, 11, 8), (224, 321), Layout('NHWC', 8, (7, 11))),
        ((1, 8, 7, 7), (224, 224), Layout('NCHW', 8, (7, 7))),
        ((1, 512, 1, 1), (224, 224), Layout('NCHW', 512, (1, 1))),
        ((1, 49, 768), (224, 224), Layout('NLC', 768, (7, 7))),
        ((1, 197, 768), (224, 224), Layout('NLC', 768, (14, 14), 1)),
        ((1, 261, 384), (224, 224), Layout('NLC', 384, (16, 16), 5)),
        ((1, 281, 384), (224, 320), Layout('NLC', 384, (14, 20), 1)),
        ((1, 512), (224, 224), Layout('NC', 512, (1, 1))),
    ],
)
def test_layout_is_inferred_from_the_shape(shape, img_size, expected):
    assert find_layout(shape, img_size) == expected


@pytest.mark.parametrize('layout', ['NCHW', 'NHWC'])
def test_layout_option_decides_ambiguous_shapes(layout):
    assert find_layout((1, 8, 8, 8), (32, 32), layout).kind == layout


def test_prefix_tokens_option_is_used():
    layout = dict(kind='NLC', prefix_tokens=12)
    found = find_layout((1, 16 + 12, 8), (64, 64), layout)
    assert found == Layout('NLC', 8, (4, 4), 12)


def test_prefix_tokens_of_the_model_are_tried_first():
    # 384 pixels are not divisible by patches of 14 pixels.
    found = find_layout((1, 729, 8), (384, 384), prefix_tokens=0)
    assert found.grid == (27, 27)
    found = find_layout((1, 49, 8), (224, 224), prefix_tokens=1)
    assert found == Layout('NLC', 8, (7, 7))


def test_stated_prefix_tokens_go_with_incomplete_patches():
    # 210 pixels are no multiple of 16.
    layout = dict(kind='NLC', prefix_tokens=1)
    found = find_layout((1, 183, 8), (224, 210), layout)
    assert found == Layout('NLC', 8, (14, 13), 1)


def test_refuses_an_ambiguous_shape():
    with pytest.raises(ValueError, match="NCHW or NHWC. Set layout='NCHW'"):
        find_layout((1, 8, 8, 8), (32, 32))


@pytest.mark.parametrize(
    'shape',
    [
        (64, 49, 96),
        (1, 77, 96),
        (1, 173, 96),  # 13 x 13 incomplete patches and 4 tokens
        (1, 9, 6, 3),
        (1, 4, 8, 7, 7),
        (1,),
    ],
)
def test_refuses_a_shape_that_is_not_a_map(shape):
    with pytest.raises(ValueError, match='is not such a map'):
        find_layout(shape, (224, 224))


@pytest.mark.parametrize('layout', ['NTHWC', dict(prefix_tokens=1), {}])
def test_refuses_an_unknown_layout(layout):
    with pytest.raises(ValueError, match="Expected layout='auto' or one of"):
        find_layout((1, 49, 8), (224, 224), layout)
