# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from ata_mm.models.backbones.embeddings import sincos_embedding


def test_every_place_has_its_own_code():
    code = sincos_embedding((5, 7), 48)
    distances = torch.cdist(code, code) + 10 * torch.eye(35)
    assert code.shape == (35, 48)
    assert distances.min() > 0.5


def test_distance_depends_on_the_displacement_alone():
    code = sincos_embedding((6, 6), 24).unflatten(0, (6, 6))
    right = (code[:, 1:] - code[:, :-1]).norm(dim=-1)
    down = (code[1:] - code[:-1]).norm(dim=-1)
    torch.testing.assert_close(right, torch.full_like(right, right[0, 0]))
    torch.testing.assert_close(down, right.T)


def test_scale():
    code = sincos_embedding((4, 4), 16)
    torch.testing.assert_close(code.square().mean(), torch.tensor(0.5))


def test_refuses_channels_that_cannot_be_shared_out():
    with pytest.raises(ValueError, match='multiple of 4.*got 50'):
        sincos_embedding((4, 4), 50)
