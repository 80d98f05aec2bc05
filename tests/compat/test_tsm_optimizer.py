# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from ata_mm.compat import tsm_optimizer


class Model(nn.Module):
    """One layer of each kind, and a parameter beside child modules."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.bn = nn.BatchNorm2d(4)
        self.norm = nn.LayerNorm(4)
        self.position = nn.Parameter(torch.zeros(5, 4))
        self.frozen = nn.Parameter(torch.zeros(5), requires_grad=False)
        self.attention = nn.MultiheadAttention(4, 2)
        self.fc = nn.Linear(4, 2)


@pytest.fixture
def groups():
    """Multiple of the learning rate, and weight decay, by name."""
    model = Model()
    wrapper = build_optim_wrapper(
        model,
        dict(
            constructor='TSMOptimWrapperConstructor',
            optimizer=dict(type='SGD', lr=1.0, weight_decay=0.5),
            paramwise_cfg=dict(fc_lr5=True),
        ),
    )
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        names[id(p)]: (group['lr'], group['weight_decay'])
        for group in wrapper.param_groups
        for p in group['params']
        if id(p) in names  # mmengine adds a group of its own
    }


def test_every_parameter_that_trains_is_in_a_group(groups):
    trained = {n for n, p in Model().named_parameters() if p.requires_grad}
    assert groups.keys() == trained


@pytest.mark.parametrize(
    'name, expected',
    [
        ('conv.weight', (1, 0.5)),
        ('bn.weight', (1, 0)),
        ('norm.weight', (1, 0)),
        ('norm.bias', (1, 0)),
        ('position', (1, 0.5)),
        ('attention.in_proj_weight', (1, 0.5)),
        ('attention.in_proj_bias', (2, 0)),
        ('fc.weight', (5, 0.5)),
        ('fc.bias', (10, 0)),
    ],
)
def test_other_layers_follow_the_rules_of_the_constructor(
    groups, name, expected
):
    assert groups[name] == expected


def test_second_call_changes_nothing():
    tsm_optimizer.apply()
    assert not tsm_optimizer.needed()
