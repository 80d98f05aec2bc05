# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from ata_mm.ops import (
    CoarseToFineMatcher,
    DisplacementMatcher,
    ExactMatcher,
    LocalMatcher,
    SinkhornMatcher,
    align_frames,
)
from ata_mm.ops.matching import local

MATCHERS = [
    ExactMatcher(),
    CoarseToFineMatcher(max_exact=2, group_size=4),
    LocalMatcher(1),
    SinkhornMatcher(),
    DisplacementMatcher(1, 0.3),
]


class Align(torch.nn.Module):
    def __init__(self, matcher):
        super().__init__()
        self.matcher = matcher

    def forward(self, x):
        return align_frames(x, self.matcher, (3, 4)).align(x)


@pytest.mark.parametrize('matcher', MATCHERS, ids=repr)
@pytest.mark.filterwarnings('ignore::torch.jit.TracerWarning')
def test_a_jit_trace_holds_for_other_clips(matcher, monkeypatch):
    """Of another batch size, and of features that have to be scaled."""
    monkeypatch.setattr(local, '_MAX_DENSE', 0)
    module = Align(matcher)
    traced = torch.jit.trace(module, torch.randn(1, 3, 12, 8))
    for x in (torch.randn(3, 3, 12, 8), 1e-25 * torch.randn(1, 3, 12, 8)):
        torch.testing.assert_close(traced(x), module(x), rtol=1e-4, atol=0)
