# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.hooks import EMAHook
from mmengine.runner import Runner

from tests.checkpoints.toys import (
    ARCH,
    convnext,
    image_vit,
    official,
    recognizer,
)


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


def test_missing_layers_are_an_error(loaded):
    with pytest.raises(ValueError, match='none for .*blocks.2'):
        loaded(official(), model=recognizer(num_layers=3))
