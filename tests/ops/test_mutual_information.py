# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import math

import pytest
import torch

from ata_mm.ops import (
    align_frames,
    mutual_information,
    positionwise_mutual_information,
)

BOTH = (mutual_information, positionwise_mutual_information)


@pytest.fixture
def clips():
    """Return unrelated features (2, 4, 12, 16)."""
    return torch.randn(2, 4, 12, 16, generator=torch.manual_seed(0))


@pytest.fixture
def shifted():
    """Return a texture that moves by a patch a frame, (1, 5, 36, 32)."""
    rows = torch.randn(6, 6, 32, generator=torch.manual_seed(0))
    frames = [rows.roll(shift, 1).flatten(0, 1) for shift in range(5)]
    return torch.stack(frames)[None]


@pytest.fixture
def shuffled(clips):
    """Return the clips with the patches of each frame in another order."""
    order = torch.rand(clips.shape[:3]).argsort(-1)
    return clips.gather(2, order[..., None].expand_as(clips))


def literal(x, temperature):
    """Compute Eqs. 8-12 for one clip (T, N, C), patch by patch."""
    num, total = x.shape[1], 0.0
    for last, frame in zip(x[:-1], x[1:]):
        entropy = -sum(1 / num * math.log(1 / num) for _ in range(num))
        conditional = 0.0
        for one in last:
            scores = torch.cosine_similarity(one[None], frame) / temperature
            p = scores.exp() / scores.exp().sum()
            conditional -= 1 / num * float((p * p.log()).sum())
        total += entropy - conditional
    return total / (len(x) - 1)


def test_equals_the_equations(clips):
    expected = [literal(clip, 0.3) for clip in clips.double()]
    assert mutual_information(clips, 0.3).tolist() == pytest.approx(expected)


@pytest.mark.parametrize('information', BOTH)
def test_identical_distinct_patches_tend_to_log_n(clips, information):
    x = clips[:, :1].expand_as(clips)
    found = [information(x, t)[0].item() for t in (1.0, 0.1, 0.01, 0.001)]
    assert found == sorted(found)
    assert found[-1] == pytest.approx(math.log(12), abs=1e-5)


@pytest.mark.parametrize('information', BOTH)
def test_equal_patches_have_no_information(information):
    x = torch.ones(2, 3, 9, 8)
    torch.testing.assert_close(information(x, 0.01), torch.zeros(2))


@pytest.mark.parametrize('channels', [2000, 20000])
def test_unrelated_features_have_the_bias_of_their_channels(channels):
    x = torch.randn(1, 3, 99, channels, generator=torch.manual_seed(0))
    expected = 1 / (2 * channels * 0.1**2)
    found = mutual_information(x, 0.1).item()
    assert found == pytest.approx(expected, rel=0.05)


def test_all_pairs_do_not_depend_on_the_order_of_patches(clips, shuffled):
    torch.testing.assert_close(
        mutual_information(shuffled), mutual_information(clips)
    )


def test_alignment_does_not_change_all_pairs(shifted):
    aligned = align_frames(shifted).align(shifted)
    torch.testing.assert_close(
        mutual_information(aligned), mutual_information(shifted)
    )


def test_alignment_raises_it_at_the_same_position(shifted):
    aligned = align_frames(shifted).align(shifted)
    before, after = map(positionwise_mutual_information, (shifted, aligned))
    assert before < 0.5 and after > 3  # log 36 = 3.58


def test_the_exact_matching_has_the_most(clips, shuffled):
    best = positionwise_mutual_information(align_frames(clips).align(clips))
    again = align_frames(shuffled).align(shuffled)
    torch.testing.assert_close(positionwise_mutual_information(again), best)
    assert (best > positionwise_mutual_information(shuffled)).all()


def test_large_maps_are_measured_in_parts(clips, monkeypatch):
    whole = [information(clips) for information in BOTH]
    monkeypatch.setitem(mutual_information.__globals__, '_MAX_SIMILARITIES', 1)
    for information, expected in zip(BOTH, whole):
        torch.testing.assert_close(information(clips), expected)


def test_refuses_a_single_frame(clips):
    with pytest.raises(ValueError, match='two frames or more.*1, 12'):
        mutual_information(clips[:, :1])


def test_refuses_a_temperature_of_zero(clips):
    with pytest.raises(ValueError, match='temperature above 0, got 0'):
        positionwise_mutual_information(clips, 0)
