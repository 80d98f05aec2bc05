# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import base64
import json
import re

import numpy as np
import pytest
import torch

from ata_mm.ops import (
    DisplacementAlignment,
    align_frames,
    neighbour_similarity,
)
from ata_mm.visualization import Block, routes_page

GRIDS = ((4, 6), (2, 3))


@pytest.fixture(scope='module')
def frames():
    """Four frames of 96 x 144 pixels."""
    noise = np.random.RandomState(0)
    return list(noise.randint(0, 255, (4, 96, 144, 3), np.uint8))


@pytest.fixture(scope='module')
def blocks():
    """Two blocks on different grids, with random routes."""
    torch.manual_seed(0)
    features = [torch.randn(1, 4, h * w, 16) for h, w in GRIDS]
    return [
        Block(2 * k, f'block{k}', 'ATA', grid, None, align_frames(x), x)
        for k, (grid, x) in enumerate(zip(GRIDS, features))
    ]


def data_of(page):
    text = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1]
    return json.loads(text)


def test_page_loads_no_other_resource(frames, blocks):
    page = routes_page(frames, blocks, [(0, 0)])
    assert not re.search(r'(src|href)="(?!data:)|url\(|@import|fetch\(', page)
    assert set(re.findall(r'https?://[^\s\'"]+', page)) == {
        'http://www.w3.org/2000/svg'
    }


def test_similarities_are_packed_in_64_levels(frames, blocks):
    packed = data_of(routes_page(frames, blocks, [(0, 0)]))['blocks'][0]
    digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
    low, high = packed['range']
    levels = torch.tensor([digits.index(c) for c in packed['map']])
    torch.testing.assert_close(
        low + levels / 63 * (high - low),
        neighbour_similarity(blocks[0].features).flatten(),
        rtol=0,
        atol=(high - low) / 120,
    )


def numbers(text, dtype):
    return np.frombuffer(base64.b64decode(text), dtype)


def test_rejected_matches_start_segments(frames):
    x = torch.randn(1, 4, 24, 16)
    alignment = align_frames(x, min_similarity=0.4)
    block = Block(0, 'a', 'ATA', (4, 6), None, alignment, x)
    packed = data_of(routes_page(frames, [block], [(0, 0)]))['blocks'][0]
    segments = numbers(packed['segments'], '<u2').reshape(4, 24)
    assert (segments == alignment.segments[0].numpy()).all()
    assert segments.any()


def test_positions_between_patches_are_shown_at_the_nearest(frames):
    grid = torch.cartesian_prod(torch.arange(4.0), torch.arange(6.0))
    positions = torch.stack([grid, grid * 0.4, grid * 0.4, grid])[None]
    alignment = DisplacementAlignment(positions, (4, 6))
    x = torch.randn(1, 4, 24, 16)
    block = Block(0, 'a', 'ATA', (4, 6), None, alignment, x)
    packed = data_of(routes_page(frames, [block], [(0, 0)]))['blocks'][0]
    places = numbers(packed['places'], '<u2').reshape(4, 24)
    assert (places == alignment.places[0].numpy()).all()
    routes = numbers(packed['routes'], '<u2').reshape(4, 24)
    assert (np.sort(routes) == np.arange(24)).all()


@pytest.mark.parametrize(
    'options, described',
    [
        ({}, 'the frame before it'),
        (dict(reference='first'), 'the first frame'),
        (dict(reference=3), 'the first frame'),
        (
            dict(reference='first-or-previous', min_similarity=0.5),
            'the first frame, and where that is rejected to the one before, '
            'matches up to similarity 0.5 are rejected',
        ),
        (dict(reference=2), 'the last of frames 0, 2, 4, … before it'),
        (
            dict(reference=1, refine=2, support_radius=1, min_similarity=0.5),
            'the frame before it, refined 2 times, support radius 1, matches '
            'up to similarity 0.5 are rejected',
        ),
    ],
)
def test_options_are_described(options, described, frames):
    x = torch.randn(1, 4, 24, 16)
    alignment = align_frames(x, grid=(4, 6), **options)
    block = Block(0, 'a', 'ATA', (4, 6), None, alignment, x, options)
    packed = data_of(routes_page(frames, [block], [(0, 0)]))['blocks'][0]
    expected = f'ATA: each frame is matched to {described}'
    assert packed['method'] == expected


def test_page_is_not_larger_than_max_bytes(frames, blocks):
    whole = len(routes_page(frames, blocks, [(0, 0)]))
    page = routes_page(frames, blocks, [(0, 0)], max_bytes=whole - 1)
    assert len(page) < whole
    assert ['map' in block for block in data_of(page)['blocks']] == [
        True,
        False,
    ]


def test_large_frames_are_shrunk(frames, blocks):
    data = data_of(routes_page(frames, blocks, [(0, 0)], width=72))
    assert data['size'] == [72, 48]


def test_quality_changes_the_size(frames, blocks):
    good, poor = (
        len(routes_page(frames, blocks, [(0, 0)], quality=q)) for q in (95, 20)
    )
    assert poor < good


def test_name_with_a_tag_does_not_end_the_data(frames, blocks):
    name = 'a</script><b>.mp4'
    page = routes_page(frames, blocks, [(0, 0)], video=name)
    assert data_of(page)['video'] == name


def test_refuses_a_block_that_does_not_align(frames):
    block = Block(0, 'block', 'TemporalAttention', (4, 6))
    with pytest.raises(ValueError, match='that aligns.*TemporalAttention'):
        routes_page(frames, [block], [(0, 0)])
