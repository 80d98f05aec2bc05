# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Clips of known motion by the name of the motion, such as 'pan:0.5'."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .known_motion import MovingClip
from .moving_clips import (
    move_photo,
    pan_poses,
    render_motion,
    rotation_poses,
    stereo_clips,
    zoom_poses,
)

# Classes of the camera motion data set.
_CAMERA = {
    'camera-pan': (0, 1, 2, 3),
    'camera-zoom': (4, 5),
    'camera-roll': (6, 7),
}
_CAMERA_CLIPS = 8
# Its recipes have patches of 4 pixels, in frames of half the rendered size.
_RENDERED_PATCH = 8


@dataclass(frozen=True)
class MotionSuite:
    """Clips of known motion, made on demand.

    A motion is KIND:VALUE, one of

    - 'pan:V': photos that move at V patches per frame, each in two directions;
    - 'zoom:F': photos that grow by the factor F per frame;
    - 'rotation:D': photos that turn by D degrees per frame;
    - 'camera-pan:V', 'camera-zoom:V' and 'camera-roll:V': scenes of the camera
      motion data set; the speed V is that of the corners, if the camera zooms
      or rolls;
    - 'stereo:F': two views of a scene, resized by the factor F.

    Args:
        photos (Sequence[np.ndarray]): Photos (H, W, 3), uint8, RGB.
        stereo (tuple[np.ndarray, np.ndarray, np.ndarray], optional): Left and
            right view (H, W, 3), and the disparity of the left one (H, W).
            Defaults to None.
        size (int): Height and width of the frames. Defaults to 224.
        num_frames (int): Frames T, except for the 2 of 'stereo'. Defaults to
            8.
        angles (Sequence[float]): Directions of pans in degrees, clockwise from
            the right; each photo takes the next two. Defaults to the eight
            directions along and across the grid.
        noise (float): Standard deviation of noise in moved photos, in steps of
            0..255. Defaults to 0.
        occluder (bool): Whether a square of half the frame's side crosses
            moved photos. Defaults to False.
    """

    photos: Sequence[np.ndarray] = field(repr=False)
    stereo: tuple[np.ndarray, np.ndarray, np.ndarray] | None = field(
        default=None, repr=False
    )
    size: int = 224
    num_frames: int = 8
    angles: Sequence[float] = (0, 45, 180, 225, 90, 135, 270, 315)
    noise: float = 0.0
    occluder: bool = False

    def clips(self, motion: str, patch: float) -> list[MovingClip]:
        """Make the clips of a motion, the same at every call.

        Args:
            motion (str): KIND:VALUE.
            patch (float): Side of a patch in pixels, the unit of speeds.

        Returns:
            list[MovingClip]: The clips.

        Raises:
            ValueError: If there is no such motion; or no stereo pair.
        """
        kind, value = parse_motion(motion)
        if kind in _CAMERA:
            return self._camera(_CAMERA[kind], value * patch, patch)
        if kind == 'stereo':
            return list(self._stereo(value))
        if kind == 'pan':
            return self._pans(value * patch)
        build = zoom_poses if kind == 'zoom' else rotation_poses
        poses = build(value, self.num_frames, self.size)
        return [self._move(i, poses) for i in range(len(self.photos))]

    def _camera(
        self, labels: Sequence[int], speed: float, patch: float
    ) -> list[MovingClip]:
        rendered = round(_RENDERED_PATCH * self.size / patch)
        return [
            render_motion(
                seed, label, self.num_frames, self.size, speed, rendered
            )
            for label in labels
            for seed in range(_CAMERA_CLIPS // len(labels))
        ]

    def _stereo(self, scale: float) -> Sequence[MovingClip]:
        if self.stereo is None:
            raise ValueError(
                'Expected a stereo pair for the motion stereo, got none.'
            )
        return stereo_clips(*self.stereo, self.size, scale)

    def _pans(self, speed: float) -> list[MovingClip]:
        clips = []
        for index in range(2 * len(self.photos)):
            angle = np.deg2rad(self.angles[index % len(self.angles)])
            velocity = speed * np.cos(angle), speed * np.sin(angle)
            poses = pan_poses(velocity, self.num_frames, self.size)
            clips.append(self._move(index // 2, poses))
        return clips

    def _move(self, index: int, poses: np.ndarray) -> MovingClip:
        other = self.photos[index - 1] if self.occluder else None
        return move_photo(
            self.photos[index],
            poses,
            self.size,
            noise=self.noise,
            occluder=other,
        )


def parse_motion(motion: str) -> tuple[str, float]:
    """Split the name of a motion.

    Args:
        motion (str): KIND:VALUE, see :class:`MotionSuite`.

    Returns:
        tuple[str, float]: Kind and value.

    Raises:
        ValueError: If there is no such kind, or the value is not a number
            above 0.
    """
    kinds = ('pan', 'zoom', 'rotation', *_CAMERA, 'stereo')
    kind, _, text = motion.partition(':')
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if kind not in kinds or value <= 0:
        raise ValueError(
            'Expected a motion KIND:VALUE, such as pan:0.5, with one of the '
            f'kinds {", ".join(kinds)} and a value above 0, got {motion!r}.'
        )
    return kind, value
