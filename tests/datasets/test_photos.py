# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest

from ata_mm.datasets.photos import (
    PHOTOS,
    import_routes_package,
    load_photo,
    load_stereo_pair,
)


@pytest.mark.parametrize('name', [*PHOTOS, 'camera'])  # that one is grey
def test_photos_are_rgb(name):
    pytest.importorskip('skimage')
    pytest.importorskip('sklearn')
    photo = load_photo(name)
    assert photo.dtype == np.uint8 and photo.shape[2:] == (3,)


def test_the_disparity_has_the_size_of_the_views():
    pytest.importorskip('skimage')
    left, right, disparity = load_stereo_pair()
    assert left.shape == right.shape == (*disparity.shape, 3)


def test_missing_packages_are_named():
    with pytest.raises(ValueError, match=r'no_such.*\.\[routes\]'):
        import_routes_package('no_such')


def test_photos_that_are_not_installed_are_an_error():
    pytest.importorskip('skimage')
    with pytest.raises(ValueError, match="got 'no_photo'"):
        load_photo('no_photo')
