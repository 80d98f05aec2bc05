# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Make the clips of the examples in docs/guides/finetuning.md.

``python tools/make_example_clips.py DATA --classes photos`` writes a folder of
clips for each of five photos of scikit-image and scikit-learn: a random crop
of the photo that pans, turns or grows. With ``--classes motions`` the class is
the motion: pan, roll, shake, still or zoom, of a crop of any of six photos.

Needs the packages of the extra: ``pip install '.[routes]'`` in the checkout.
"""

import argparse

from ata_mm.cli.arguments import make_folder, positive, seed


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Make clips of photos in a folder for each class'
    )
    parser.add_argument('data', metavar='DATA', help='the folder to write to')
    parser.add_argument(
        '--classes',
        choices=['photos', 'motions'],
        required=True,
        help='what distinguishes the classes',
    )
    parser.add_argument(
        '--number',
        type=positive,
        default=30,
        help='clips of each class (default: 30)',
    )
    parser.add_argument(
        '--seed', type=seed, default=0, help='of all crops (default: 0)'
    )
    return parser.parse_args()


if __name__ == '__main__':
    parse_args()  # --help and wrong options, before imports of seconds

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ata_mm.cli.errors import user_errors
from ata_mm.datasets.photos import PHOTOS, load_photo
from ata_mm.evaluation.moving_clips import (
    move_photo,
    pan_poses,
    rotation_poses,
    zoom_poses,
)
from ata_mm.video import write_video

FRAMES = 16
SIZE = 128  # pixels, height and width of a clip
FPS = 8


def pan(rng: np.random.Generator) -> np.ndarray:
    """Return the poses of a pan by 2 to 5 pixels a frame."""
    angle = rng.uniform(0, 2 * np.pi)
    velocity = rng.uniform(2, 5) * np.array([np.cos(angle), np.sin(angle)])
    return pan_poses(velocity, FRAMES, SIZE)


def roll(rng: np.random.Generator) -> np.ndarray:
    """Return the poses of a rotation by 4 to 8 degrees a frame."""
    degrees = rng.choice([-1, 1]) * rng.uniform(4, 8)
    return rotation_poses(degrees, FRAMES, SIZE)


def shake(rng: np.random.Generator) -> np.ndarray:
    """Return the poses of a view that jumps by some pixels each frame."""
    poses = still(rng)
    poses[:, :, 2] += rng.normal(0, rng.uniform(2, 5), (FRAMES, 2))
    return poses


def still(rng: np.random.Generator) -> np.ndarray:
    """Return the poses of a view that does not move."""
    return pan_poses((0.0, 0.0), FRAMES, SIZE)


def zoom(rng: np.random.Generator) -> np.ndarray:
    """Return the poses of a view that grows or shrinks by 4 to 8 % a frame."""
    return zoom_poses(1 + rng.uniform(0.04, 0.08), FRAMES, SIZE)[
        :: rng.choice([-1, 1])
    ]


MOTIONS: dict[str, Callable[[np.random.Generator], np.ndarray]] = dict(
    pan=pan, roll=roll, shake=shake, still=still, zoom=zoom
)


def crop(rng: np.random.Generator, photo: np.ndarray) -> np.ndarray:
    """Return a square of 0.6 to 0.9 of the short side of a photo."""
    height, width = photo.shape[:2]
    side = round(rng.uniform(0.6, 0.9) * min(height, width))
    top, left = (rng.integers(0, n - side + 1) for n in (height, width))
    return photo[top : top + side, left : left + side]


def main() -> None:
    """Write the clips."""
    args = parse_args()
    rng = np.random.default_rng(args.seed)
    by_photo = args.classes == 'photos'
    with user_errors():
        make_folder(args.data, 'DATA')
        photos = {name: load_photo(name) for name in PHOTOS}
        for label in PHOTOS[:5] if by_photo else MOTIONS:
            Path(args.data, label).mkdir(exist_ok=True)
            for index in range(args.number):
                photo, motion = label, rng.choice(list(MOTIONS))
                if not by_photo:
                    photo, motion = PHOTOS[index % len(PHOTOS)], label
                poses = MOTIONS[motion](rng)
                clip = move_photo(crop(rng, photos[photo]), poses, SIZE)
                path = Path(args.data, label, f'{index}.mp4')
                write_video(path, clip.frames, FPS)


if __name__ == '__main__':
    main()
