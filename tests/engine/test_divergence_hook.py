# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper

from ata_mm.engine import DivergenceHook
from ata_mm.ops.validation import NotFiniteError

NOT_FINITE = [float('nan'), float('inf'), -float('inf')]


@pytest.fixture
def runner():
    """A runner of a linear layer, whose hook watches its optimizer."""
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    made = SimpleNamespace(model=model, optim_wrapper=OptimWrapper(optimizer))
    made.hook = DivergenceHook()
    made.hook.before_train(made)
    return made


@pytest.mark.parametrize('value', NOT_FINITE)
def test_gradients_do_not_reach_the_weights(value, runner):
    weight = runner.model.weight.clone()
    with pytest.raises(NotFiniteError, match='gradients of 1 of 1 param'):
        runner.optim_wrapper.update_params(runner.model.weight.sum() * value)
    assert torch.equal(runner.model.weight, weight)


def test_large_gradients_are_no_divergence(runner):
    runner.optim_wrapper.update_params(runner.model.weight.sum() * 1e30)
    assert runner.model.weight.isfinite().all()


def test_watching_ends_with_the_training(runner):
    runner.hook.after_train(runner)
    runner.optim_wrapper.update_params(
        runner.model.weight.sum() * NOT_FINITE[0]
    )
    assert runner.model.weight.isnan().all()


@pytest.mark.parametrize('value', NOT_FINITE)
def test_losses_are_checked(value, runner):
    losses = dict(loss=torch.tensor(1.0), loss_cls=2.0, top1_acc=value)
    runner.hook.after_train_iter(runner, 0, None, losses)
    with pytest.raises(NotFiniteError, match=f'loss is {value}'):
        runner.hook.after_train_iter(runner, 0, None, dict(loss=value))


@pytest.mark.parametrize('value', NOT_FINITE)
def test_parameters_are_checked_before_they_are_saved(value, runner):
    runner.hook.before_save_checkpoint(runner, {})
    runner.model.bias.data.fill_(value)
    with pytest.raises(NotFiniteError, match='parameter bias'):
        runner.hook.before_save_checkpoint(runner, {})


@pytest.mark.parametrize('fused', [False, True])
def test_a_step_that_the_loss_scale_skips_is_no_divergence(fused):
    model = torch.nn.Linear(2, 1)
    weight = model.weight.clone()
    optimizer = torch.optim.AdamW(model.parameters(), fused=fused)
    hook = DivergenceHook()
    hook.before_train(SimpleNamespace(optim_wrapper=OptimWrapper(optimizer)))
    scaler = torch.amp.GradScaler('cpu')
    scaler.scale(model.weight.sum() * 1e38).backward()
    scaler.step(optimizer)
    assert torch.equal(model.weight, weight)
