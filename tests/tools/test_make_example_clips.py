# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
from importlib.util import find_spec

import numpy as np
import pytest

from ata_mm.datasets.own_videos import read_own_videos
from ata_mm.video import FrameSource

pytestmark = pytest.mark.skipif(
    not (find_spec('skimage') and find_spec('sklearn')),
    reason='needs the photos of the extra "routes"',
)


@pytest.fixture
def made(run, tmp_path):
    """Make a clip of each class."""

    def made(classes):
        words = '--classes', classes, '--number', 2
        done = run('make_example_clips.py', tmp_path / 'clips', *words)
        assert done.returncode == 0, done.stderr
        return tmp_path / 'clips'

    return made


def test_photos_are_classes(made):
    found = read_own_videos([str(made('photos'))])
    classes = ['astronaut', 'chelsea', 'china', 'coffee', 'rocket']
    assert found.classes == classes and len(found.videos) == 10


def test_motions_are_classes(made):
    change = {}
    for folder in made('motions').iterdir():
        frames = np.stack(list(FrameSource(str(folder / '0.mp4')))).astype(int)
        assert frames.shape == (16, 128, 128, 3)
        change[folder.name] = abs(frames[1:] - frames[:-1]).mean()
    still = change.pop('still')
    assert sorted(change) == ['pan', 'roll', 'shake', 'zoom']
    assert min(change.values()) > 3 * still
