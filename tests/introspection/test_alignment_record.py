# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from torch.utils.checkpoint import checkpoint

from ata_mm.engine import AlignmentRecord
from ata_mm.models import ATA
from ata_mm.ops import ExactMatcher, align_frames
from ata_mm.visualization import observe
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
    """The record of one forward pass of a view."""
    record = AlignmentRecord()
    record.attach(model)
    with torch.no_grad():
        observed = observe(model, inputs)
    record.detach(model)
    return record, observed


@pytest.mark.parametrize('model, inputs, options', CASES)
def test_means_are_those_of_the_routes_that_the_model_took(
        model, inputs, options):
    record, seen = record_of(model(dict(models.ATA, **options)), inputs())
    # Of blocks that share an alignment, the first found it.
    blocks = seen.blocks[:1 if 'share_alignment' in options else None]
    expected = [b.alignment.displacement(b.grid).mean() for b in blocks]
    similarity = [b.similarity().mean() for b in blocks]
    means = record.means()
    assert means['displacement'] == pytest.approx(sum(expected) / len(blocks))
    assert means['similarity'] == pytest.approx(sum(similarity) / len(blocks))


def test_patches_of_a_still_clip_stay_in_place():
    still = models.clip()[:, :, :1].repeat(1, 1, 4, 1, 1)
    temporal = dict(models.ATA, match_on='content')
    record, _ = record_of(models.vit(temporal), still)
    means = record.means()
    assert means['displacement'] == 0 and means['in_place'] == 1


def test_share_in_place():
    record = AlignmentRecord()
    module = ATA(8, 2)
    record.attach(module)
    x = torch.eye(8)[None, None].repeat(1, 2, 1, 1)
    x[0, 1, :2] = x[0, 1, [1, 0]]
    module(x)
    assert record.means() == dict(in_place=0.75, similarity=1.)


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
    record.attach(module)
    x = torch.rand(1, 2, 8, 8, requires_grad=True)
    y = checkpoint(module, x, use_reentrant=False)
    means = record.means()
    y.sum().backward()
    assert record.means() == means and len(record._means['in_place']) == 1


def test_time_is_that_of_the_matching():
    record, _ = record_of(models.vit(), models.clip())
    assert 0 < record.seconds < 1


def test_hears_nothing_when_stopped():
    record = AlignmentRecord()
    model = models.vit()
    record.attach(model)
    record.stop()
    observe(model, models.clip())
    assert record.first is None and not record.means()


def test_leaves_the_model_as_it_was():
    model = models.vit()
    record = AlignmentRecord()
    assert record.attach(model) == 3
    record.detach(model)
    assert all(m.aligner is align_frames for m in model.modules()
               if isinstance(m, ATA))
