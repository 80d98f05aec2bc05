# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from torch import nn

from ata_mm.models.backbones.wrapper.ata_backbone import (
    ForwardPass,
    TemporalHook,
    map_first_tensor,
)
from ata_mm.models.layouts import Layout
from ata_mm.models.temporal import TemporalModule


class Add(TemporalModule):
    """Temporal module that changes its input and counts its calls."""

    calls = 0

    def forward(self, x, position, grid, alignment):
        self.seen = tuple(x.shape), grid
        self.calls += 1
        return (x + 1) ** 2


@pytest.fixture
def temporal():
    return nn.ModuleList([nn.Identity(), Add()])


@pytest.fixture
def hook(temporal):
    layout = Layout('NLC', 6, (4, 5), 1)
    return TemporalHook(temporal, 1, layout, 4, False, ForwardPass(), True)


def test_applies_the_temporal_module_before_the_block(hook, temporal):
    block = nn.Identity()
    block.register_forward_pre_hook(hook, with_kwargs=True)
    x = torch.zeros(8, 21, 6)
    y = block(x)
    assert temporal[1].seen == ((2, 4, 20, 6), (4, 5))
    assert not y[:, 0].any() and (y[:, 1:] == 1).all()


def test_applies_a_module_that_was_replaced_in_the_list(hook, temporal):
    temporal[1] = Add()
    temporal[1].forward = lambda x, *options: x + 5
    (x,), _ = hook(None, (torch.zeros(4, 21, 6),), {})
    assert x.max() == 5


@pytest.mark.parametrize(
    'with_cp, training, calls',
    [(False, True, 1), (True, False, 1), (True, True, 2)],
)
def test_recomputes_only_in_training(hook, temporal, with_cp, training, calls):
    hook.with_cp = with_cp
    temporal.train(training)
    x = torch.zeros(4, 21, 6, requires_grad=True)
    hook.mix_frames(x).sum().backward()
    assert temporal[1].calls == calls


@pytest.mark.parametrize(
    'args, kwargs, expected',
    [
        ((1.0, torch.ones(1), torch.ones(1)), {}, (1.0, 2.0, 1.0)),
        ((torch.ones(1),), dict(x=torch.ones(1)), (2.0, 1.0)),
        (
            (3.0,),
            dict(size=4.0, x=torch.ones(1), y=torch.ones(1)),
            (3.0, 4.0, 2.0, 1.0),
        ),
        ((3.0,), {}, (3.0,)),
    ],
)
def test_changes_only_the_first_tensor(args, kwargs, expected):
    args, kwargs = map_first_tensor(lambda x: x + 1, args, kwargs)
    assert (*args, *kwargs.values()) == expected
