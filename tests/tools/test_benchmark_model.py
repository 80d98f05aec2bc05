# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import importlib
import sys
from pathlib import Path

import pytest
import torch
from mmaction.models import TimeSformer
from torch import nn

from ata_mm.models import ATA, ATATimeSformer

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
NEEDS_GPU = pytest.mark.skipif(
    not torch.cuda.is_available(), reason='needs a GPU'
)


@pytest.fixture
def tool(monkeypatch):
    """The tool as a module."""
    monkeypatch.syspath_prepend(TOOLS)
    return importlib.import_module('benchmark_model')


def small_model(num_frames=8, **options):
    return ATATimeSformer(
        num_frames,
        img_size=224,
        patch_size=32,
        embed_dims=24,
        num_heads=2,
        num_layers=1,
        **options,
    )


def small_peer(num_frames, img_size, patch_size):
    return TimeSformer(
        num_frames,
        img_size=img_size,
        patch_size=2 * patch_size,
        embed_dims=24,
        num_heads=2,
        num_transformer_layers=1,
    )


@pytest.fixture
def main(tool, monkeypatch, capsys):
    """Run the tool on two small models with options, and return its output."""

    def run(*options, device='cpu'):
        models = dict(
            attention=small_model(temporal=dict(type='TemporalAttention')),
            ata=small_model(),
        )
        monkeypatch.setattr(tool, 'build_models', lambda *args: models)
        words = ['--rounds', '1', '--device', device, *options]
        monkeypatch.setattr(sys, 'argv', ['benchmark_model.py', *words])
        tool.main()
        return capsys.readouterr().out

    return run


def cells(table, column, row):
    """Return a cell of a Markdown table by its titles."""
    header, *rows = (
        [cell.strip() for cell in line.split('|')[1:-1]]
        for line in table.splitlines()
        if line.startswith('|')
    )
    return {r[0]: r for r in rows}[row][header.index(column)]


@pytest.mark.parametrize('train', [False, True])
def test_it_prints_what_it_reaches(main, train):
    printed = main(*['--train'] * train)
    assert 'a product of 2048x2048 matrices: ' in printed
    assert ('of that rate' in printed) != train


def test_only_ata_spends_time_on_the_matching(main):
    printed = main()
    assert cells(printed, 'matching, ms', 'attention') == '0.0'
    assert float(cells(printed, 'matching, ms', 'ata')) > 0


@NEEDS_GPU
def test_cuda_steps_report_their_memory(main):
    printed = main('--train', '--amp', device='cuda')
    assert float(cells(printed, 'matching, ms', 'ata')) > 0
    assert float(cells(printed, 'memory, GB', 'ata')) >= 0


@pytest.mark.parametrize('train', [False, True])
def test_steps_under_autocast(tool, train):
    model = small_model()
    tool.Step(model, torch.randn(1, 3, 8, 224, 224), train, amp=True)()
    assert (model.cls_token.grad is not None) == train


def test_time_of_the_matching_is_that_of_the_last_step(tool):
    step = tool.Step(
        small_model(2), torch.randn(1, 3, 2, 224, 224), False, False
    )
    clock = iter([0, 10, 20, 23])
    step._timer._now = lambda: next(clock)
    step()
    step()
    step.end_round()
    assert step.matching == [3]


def test_rows_come_in_the_order_given(tool):
    names = ['ata-stage', 'averaging']
    models = tool.build_models('convnext', 'tiny', names, 2)
    assert list(models) == names
    modules = models['ata-stage'].modules()
    shares = {m.share_alignment for m in modules if isinstance(m, ATA)}
    assert shares == {'stage'}


def test_rows_have_equal_weights(tool):
    models = tool.build_models('cyclemlp', 'b1', ['attention', 'ata'], 2)
    first, second = (model.state_dict() for model in models.values())
    assert all(torch.equal(first[key], second[key]) for key in second)


def test_vit_rows_have_the_weights_of_the_peer(tool, monkeypatch):
    monkeypatch.setattr(tool, 'TimeSformer', small_peer)
    monkeypatch.setattr(tool, 'ATATimeSformer', small_model)
    models = tool.vit_models(['mmaction2', 'ata'], 3)
    peer, ours = models.values()
    assert torch.equal(ours.pos_embed, peer.pos_embed)


def test_an_unknown_row_names_the_known_ones(tool):
    with pytest.raises(ValueError, match='averaging attention .* got mmact'):
        tool.build_models('convnext', None, ['mmaction2'], 8)


def test_shares_count_two_operations_a_product(tool):
    models = dict(line=nn.Linear(4, 5))
    # 3 * 4 * 5 = 60 products in 2 s, and 10 ** 3 in 1 s
    shares = tool.peak_shares(
        models, torch.randn(3, 4), 10, dict(line=[2.0]), [1.0]
    )
    assert shares == dict(line='3%')
