# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
import torch

from ata_mm.ops import Alignment, align_frames
from ata_mm.video import Clip
from ata_mm.visualization import Block
from ata_mm.visualization.files import (
    most_motion,
    write_heat_maps,
    write_routes,
)

GRID = (3, 4)


@pytest.fixture
def clip():
    """Three frames of 60 x 80 pixels."""
    frames = np.random.randint(0, 255, (3, 60, 80, 3), np.uint8)
    return Clip(list(frames), [0, 2, 4])


@pytest.fixture
def block():
    x = torch.randn(1, 3, 12, 8)
    return Block(0, 'block', 'ATA', GRID, None, align_frames(x), x)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_routes_are_written_to_the_files_returned(clip, block, tmp_path):
    files = write_routes(tmp_path / 'new', clip, [block], block)
    assert names(tmp_path / 'new') == sorted(path.name for path in files)
    assert all(path.stat().st_size > 0 for path in files)


def test_most_motion_is_in_the_pair_of_a_pan():
    """Random matches before it are doubtful."""
    still = torch.arange(30)
    pan = still.view(5, 6).roll(1, 1).flatten()
    mixed = torch.randperm(30)
    routes = torch.stack([still, mixed, pan[mixed], pan[mixed]])
    assert most_motion(Alignment(routes[None]), (5, 6)) == 1


@pytest.mark.parametrize('options', [dict(pair=2), dict(patches=[(3, 0)])])
def test_wrong_option_leaves_no_file(options, clip, block, tmp_path):
    with pytest.raises(ValueError, match='Expected'):
        write_routes(tmp_path / 'new', clip, [block], block, **options)
    assert not (tmp_path / 'new').exists()


def test_a_single_frame_has_no_routes_to_draw(clip, tmp_path):
    x = torch.randn(1, 1, 12, 8)
    block = Block(0, 'block', 'ATA', GRID, None, align_frames(x), x)
    with pytest.raises(ValueError, match='two frames or more'):
        write_routes(tmp_path / 'new', clip, [block], block)


def test_heat_maps_keep_a_dot_in_the_name(clip, tmp_path):
    maps = {'model': np.random.rand(3, *GRID)}
    write_heat_maps(tmp_path / 'lr0.1', clip, maps, 'title')
    assert names(tmp_path) == ['lr0.1.mp4', 'lr0.1.png']
