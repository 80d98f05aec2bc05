# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from torch.utils.checkpoint import checkpoint

from ata_mm.introspection import (
    AlignmentEvent,
    AlignmentRecord,
    listener,
    observe,
)
from ata_mm.models import ATA
from ata_mm.ops import DisplacementAlignment, ExactMatcher, Matcher
from ata_mm.ops.permutation import identity
from tests.visualization import models

CASES = [
    (models.vit, models.clip, {}),
    (models.vit, models.clip, dict(match_on='content')),
    (models.vit, models.clip, dict(dealign=False)),
    (models.vit, models.clip, dict(share_alignment='stage')),
    (models.convnext, models.clip, dict(dealign=False)),
    (models.tsn, models.images, {}),
]


def record_of(model, inputs):
    """Return the record and the observation of one forward pass of a view."""
    record = AlignmentRecord()
    with record.attach(model):
        observed = observe(model, inputs)
    return record, observed


@pytest.mark.parametrize('model, inputs, options', CASES)
def test_means_are_those_of_the_routes_that_the_model_follows(
    model, inputs, options
):
    record, seen = record_of(model(dict(models.ATA, **options)), inputs())
    # Of blocks that share an alignment, the first computes it.
    blocks = seen.blocks[: 1 if 'share_alignment' in options else None]
    expected = [b.alignment.displacement(b.grid).mean() for b in blocks]
    similarity = [b.similarity().mean() for b in blocks]
    means = record.means()
    assert means['displacement'] == pytest.approx(sum(expected) / len(blocks))
    assert means['similarity'] == pytest.approx(sum(similarity) / len(blocks))


@pytest.mark.parametrize('temporal', [{}, dict(dealign=False)])
def test_a_second_pass_of_a_clip_changes_no_mean(temporal):
    model, clip = models.vit(dict(models.ATA, **temporal)), models.clip()
    record = AlignmentRecord()
    with record.attach(model):
        observe(model, clip)
        means = record.means()
        observe(model, clip)
    assert record.means() == pytest.approx(means)


def test_first_clip_is_that_of_the_first_module():
    model, clips = models.vit(), [models.clip(), models.clip()]
    record, seen = record_of(model, clips[0])
    batch = model.data_preprocessor(
        dict(inputs=clips, data_samples=[models.sample(), models.sample()])
    )
    with record.attach(model):
        record.restart()
        model(batch['inputs'], stage='head')
    alignment, similarity, grid = record.first
    assert torch.equal(alignment.routes, seen.blocks[0].alignment.routes)
    torch.testing.assert_close(similarity, seen.blocks[0].similarity())
    assert grid == (4, 4)


def test_patches_of_a_still_clip_stay_in_place():
    still = models.clip()[:, :, :1].repeat(1, 1, 4, 1, 1)
    temporal = dict(models.ATA, match_on='content')
    record, _ = record_of(models.vit(temporal), still)
    means = record.means()
    assert means['displacement'] == 0 and means['in_place'] == 1


def test_share_in_place():
    record, module = AlignmentRecord(), ATA(8, 2)
    x = torch.eye(8)[None, None].repeat(1, 2, 1, 1)
    x[0, 1, :2] = x[0, 1, [1, 0]]
    with record.attach(module):
        module(x)
    assert record.means() == dict(in_place=0.75, similarity=1.0)


def test_share_of_rejected_matches():
    """Two of eight patches of frame 1 resemble none of frame 0."""
    record, module = AlignmentRecord(), ATA(8, 2, min_similarity=0.5)
    x = torch.eye(8)[None, None].repeat(1, 2, 1, 1)
    x[0, 1, :2] *= -1
    with record.attach(module):
        module(x)
    assert record.means()['rejected'] == 0.25
    assert record.first.alignment.accepted.sum() == 14


def test_without_a_limit_nothing_can_be_rejected():
    record, _ = record_of(models.vit(), models.clip())
    assert 'rejected' not in record.means()


def test_routes_between_patches_stay_if_they_are_nearest():
    """Routes that share a patch: a permutation has to move one of them."""
    record = AlignmentRecord()
    positions = torch.tensor([[0.0, 0.0], [0.0, 1.0]])
    alignment = DisplacementAlignment(
        torch.stack([positions, positions * 0.4])[None], (1, 2)
    )
    x = torch.rand(1, 2, 2, 4)
    record.on_alignment(AlignmentEvent('', x, alignment, (1, 2), True))
    assert record.means()['in_place'] == 0.5


def test_one_frame_has_no_step():
    record, module = AlignmentRecord(), ATA(8, 2)
    with record.attach(module):
        module(torch.rand(1, 1, 8, 8), grid=(2, 4))
    assert record.means() == {} and record.first is not None


def test_nothing_is_matched_twice(monkeypatch):
    solved, solve = [], ExactMatcher.__call__

    def count(*args, **kwargs):
        solved.append(0)
        return solve(*args, **kwargs)

    monkeypatch.setattr(ExactMatcher, '__call__', count)
    models.vit()(torch.rand(1, 1, 3, 4, 32, 32))
    assert len(solved) == 3
    record_of(models.vit(), models.clip())
    assert len(solved) == 6


def test_recomputed_matchings_count_once():
    module, record = ATA(8, 2), AlignmentRecord()
    x = torch.rand(1, 2, 8, 8, requires_grad=True)
    with record.attach(module):
        y = checkpoint(module, x, use_reentrant=False)
        means = record.means()
        y.sum().backward()
    assert record.means() == means and len(record._means['in_place']) == 1


class Clock:
    """Time that passes only where a test says so."""

    def __init__(self, monkeypatch):
        self.seconds = 0.0
        monkeypatch.setattr(listener, 'now', lambda: self.seconds)

    def advance(self, seconds):
        self.seconds += seconds


class OneSecond(Matcher):
    """Matches in place, and takes a second for all frame pairs."""

    def __init__(self, clock):
        self._clock = clock

    def match(self, similarity, grid=None):
        self._clock.advance(1.0)
        return identity(*similarity.shape[:-1])


def test_time_is_that_of_the_matching_alone(monkeypatch):
    model, clock = models.vit(), Clock(monkeypatch)
    for block in model.backbone.blocks:
        block.temporal.aligner.matcher = OneSecond(clock)
        block.mlp.register_forward_hook(lambda *call: clock.advance(100.0))
    record, _ = record_of(model, models.clip())
    assert record.seconds == 3.0


def test_time_counts_recomputed_matchings(monkeypatch):
    module, clock = ATA(8, 2), Clock(monkeypatch)
    module.aligner.matcher, record = OneSecond(clock), AlignmentRecord()
    x = torch.rand(1, 2, 8, 8, requires_grad=True)
    with record.attach(module):
        checkpoint(module, x, use_reentrant=False).sum().backward()
    assert record.seconds == 2.0


def test_records_nothing_when_stopped(monkeypatch):
    model, clock, record = models.vit(), Clock(monkeypatch), AlignmentRecord()
    model.backbone.blocks[0].temporal.aligner.matcher = OneSecond(clock)
    with record.attach(model):
        record.stop()
        observe(model, models.clip())
    assert record.first is None and not record.means() and not record.seconds


def test_restart_forgets():
    record, _ = record_of(models.vit(), models.clip())
    record.restart()
    assert record.first is None and not record.means() and not record.seconds
