# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Photos that scikit-image and scikit-learn install."""

from importlib import import_module
from types import ModuleType

import numpy as np

PHOTOS = ('astronaut', 'chelsea', 'coffee', 'rocket', 'china', 'flower')


def load_photo(name: str) -> np.ndarray:
    """Load a photo.

    Args:
        name (str): 'china' or 'flower' of scikit-learn, or the name of a photo
            in :mod:`skimage.data`.

    Returns:
        np.ndarray: (H, W, 3), uint8, RGB.

    Raises:
        ValueError: If neither package installs a photo of this name.
    """
    if name in ('china', 'flower'):
        datasets = import_routes_package('sklearn.datasets')
        return datasets.load_sample_image(f'{name}.jpg')
    data = import_routes_package('skimage.data')
    try:
        photo = getattr(data, name)()
    # Photos that the package does not contain are downloaded by pooch.
    except (AttributeError, ModuleNotFoundError, OSError) as error:
        raise ValueError(
            'Expected a photo that scikit-image or scikit-learn install, such '
            f'as {", ".join(PHOTOS)}, got {name!r}: {error}.'
        ) from error
    if photo.ndim == 2:
        photo = photo[..., None].repeat(3, -1)
    return np.ascontiguousarray(photo[..., :3])


def load_stereo_pair() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Load the stereo pair of scikit-image (Middlebury 2014).

    Returns:
        tuple[np.ndarray, np.ndarray, np.ndarray]: Left and right view
        (H, W, 3), and the disparity of the left one in pixels, (H, W).

    Raises:
        ValueError: If scikit-image is not installed.
    """
    # According to its documentation the disparity belongs to the right view.
    # It fits the left one.
    return import_routes_package('skimage.data').stereo_motorcycle()


def import_routes_package(name: str) -> ModuleType:
    """Import a module of the packages of the extra ``routes``.

    Args:
        name (str): Name of the module.

    Raises:
        ValueError: If it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f'Expected the module {name}, got: {error}. Run pip install '
            "'.[routes]' in the checkout."
        ) from error
