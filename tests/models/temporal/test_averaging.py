# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import torch

from ata_mm.models import TemporalAveraging


def test_returns_its_input():
    x = torch.randn(2, 4, 9, 24)
    assert TemporalAveraging(24, 3)(x) is x


def test_has_no_parameter():
    assert not list(TemporalAveraging(24, 3).parameters())
