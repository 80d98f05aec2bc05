# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from ata_mm.models import JointAttention


def test_has_no_parameter():
    assert not list(JointAttention(24, 3).parameters())


def test_refuses_backbones_that_cannot_widen_their_attention():
    with pytest.raises(ValueError, match='ATATimeSformer.*this backbone'):
        JointAttention(24, 3)(torch.randn(2, 4, 9, 24))
