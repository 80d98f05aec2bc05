# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import warnings

import pytest
from mmaction.registry import TRANSFORMS

from ata_mm.compat import uniform_sample_views


def sample(total_frames, **options):
    step = TRANSFORMS.build(dict(type='UniformSample', clip_len=8, **options))
    return step.transform(
        dict(filename='a.mp4', total_frames=total_frames, start_index=0)
    )


@pytest.mark.parametrize('frames, different', [(9, 1), (30, 3)])
def test_equal_views_are_counted(frames, different):
    with pytest.warns(match=f'a.mp4 has {frames} .* {different} of them are'):
        sample(frames, num_clips=4, test_mode=True)


@pytest.mark.parametrize(
    'frames, options',
    [
        (100, dict(num_clips=4, test_mode=True)),
        (9, dict(num_clips=1, test_mode=True)),
        (9, dict(num_clips=2)),
    ],
)
def test_other_samples_have_no_warning(frames, options):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        sample(frames, **options)


def test_second_call_changes_nothing():
    uniform_sample_views.apply()
    assert not uniform_sample_views.needed()
