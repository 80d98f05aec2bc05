# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
import torch
from mmaction.utils import GradCAM

from ata_mm.visualization import class_activation
from tests.visualization import models

AVERAGING = dict(type='TemporalAveraging')
FAMILIES = [
    (models.vit, models.clip),
    (models.convnext, models.clip),
    (models.cyclemlp, models.clip),
    (models.tsn, models.images),
]
families = pytest.mark.parametrize('model, inputs', FAMILIES)


def trained(model):
    """Initialise the head, whose weights are almost 0, for its gradients."""
    torch.nn.init.normal_(next(model.cls_head.parameters()))
    return model


@families
@pytest.mark.parametrize('temporal', [models.ATA, AVERAGING])
def test_maps_lie_over_the_clip(model, inputs, temporal):
    inputs = inputs()
    maps, _ = class_activation(trained(model(temporal)), inputs)
    assert maps.shape == (4, *inputs.shape[-2:])
    assert maps.min() == 0 and maps.max() == 1


def test_equals_gradcam_on_a_feature_map():
    """With averaging, the input of the neck is its output."""
    model, inputs = trained(models.tsn(AVERAGING)), models.images()
    maps, _ = class_activation(model, inputs)
    sample = models.sample()
    stock, _ = GradCAM(model, 'backbone/layer4')._calculate_localization_map(
        dict(inputs=[inputs], data_samples=[sample]), use_labels=False
    )
    torch.testing.assert_close(
        torch.from_numpy(maps), stock[0], rtol=0, atol=1e-5
    )


def test_tokens_are_weighted_by_the_mean_gradient_of_their_frame():
    """This is the definition of Grad-CAM."""
    model, clip, seen = trained(models.vit()), models.clip(), []
    module = model.backbone.blocks[-1].temporal
    handle = module.register_forward_hook(
        lambda module, args, output: seen.append(output)
    )
    x = model.data_preprocessor(
        dict(inputs=[clip], data_samples=[models.sample()])
    )['inputs']
    score = model(x, stage='head').max()
    handle.remove()
    (gradient,) = torch.autograd.grad(score, seen)  # (1, T, N, C)
    expected = (gradient.mean(2, keepdim=True) * seen[0]).sum(-1).relu()
    expected = expected.detach().view(1, 1, 4, 4, 4)
    expected = torch.nn.functional.interpolate(
        expected, size=(4, 32, 32), mode='trilinear'
    )[0, 0]
    expected = (expected - expected.min()) / expected.max()
    maps, _ = class_activation(model, clip)
    assert np.corrcoef(maps.ravel(), expected.ravel())[0, 1] > 0.999


def test_class_can_be_chosen():
    model, inputs = trained(models.vit()), models.clip()
    maps = [class_activation(model, inputs, label)[0] for label in range(3)]
    assert not (maps[0] == maps[1]).all() and not (maps[1] == maps[2]).all()


def test_class_has_the_highest_score_by_default():
    model, inputs = trained(models.vit()), models.clip()
    maps, label = class_activation(model, inputs)
    assert (class_activation(model, inputs, label)[0] == maps).all()


def test_blocks_differ():
    model, inputs = trained(models.vit()), models.clip()
    first, last = (
        class_activation(model, inputs, block=block)[0] for block in (0, 2)
    )
    assert not (first == last).all()


def test_model_is_restored():
    model = trained(models.vit())
    class_activation(model, models.clip())
    assert model.cls_head.average_clips == 'prob'
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks for m in model.modules())


@pytest.mark.parametrize(
    'options, match',
    [
        (dict(block=3), 'a block from 0 to 2, .* got 3'),
        (dict(label=3), 'a class from 0 to 2, got 3'),
    ],
)
def test_refuses_unknown_blocks_and_classes(options, match):
    with pytest.raises(ValueError, match=match):
        class_activation(models.vit(), models.clip(), **options)


def test_refuses_a_model_that_does_not_dealign():
    model = models.vit(dict(type='ATA', dealign=False))
    with pytest.raises(ValueError, match='dealign=False'):
        class_activation(model, models.clip())
