# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from ata_mm.models.backbones.base import (
    PretrainedBackbone,
    VideoBackbone,
    check_clips,
    chosen_blocks,
)


def test_pretrained_is_short_for_init_cfg():
    cfg = dict(type='Pretrained', checkpoint='a.pth')
    assert VideoBackbone(pretrained='a.pth').init_cfg == cfg


def test_refuses_two_sources_of_weights():
    with pytest.raises(ValueError, match='got both'):
        VideoBackbone(pretrained='a.pth', init_cfg=dict(type='Normal'))


@pytest.mark.parametrize(
    'options', [dict(checkpint='a.pth'), dict(checkpoint=None), {}]
)
@pytest.mark.parametrize('backbone', [PretrainedBackbone, VideoBackbone])
def test_refuses_pretrained_weights_without_a_checkpoint(backbone, options):
    model = backbone(init_cfg=dict(type='Pretrained', **options))
    with pytest.raises(
        ValueError, match='Expected init_cfg=.*checkpoint=PATH'
    ):
        model.init_weights()


@pytest.mark.parametrize(
    'shape, remedy',
    [((2, 3, 5, 8, 8), 'SampleFrames'), ((16, 3, 8, 8), 'a Recognizer3D')],
)
def test_refuses_clips_of_another_shape(shape, remedy):
    with pytest.raises(ValueError, match=remedy):
        check_clips(torch.zeros(shape), 3, 4, ('H', 'W'))


@pytest.mark.parametrize(
    'choice, expected',
    [('all', [0, 1, 2]), ([0, 2], [0, 2]), ((), []), ({1}, [1])],
)
def test_chosen_blocks(choice, expected):
    assert list(chosen_blocks(choice, 3)) == expected


@pytest.mark.parametrize(
    'choice', ['first', '', [3], [-1], None, 1, 2.5, ['0'], [[0]]]
)
def test_refuses_block_indices_out_of_range(choice):
    with pytest.raises(ValueError, match='from 0 to 2'):
        chosen_blocks(choice, 3)
