# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
from typing import Callable, List, Optional, Sequence, Union

from mmaction.datasets import VideoDataset
from mmaction.registry import DATASETS
from mmengine.dist import barrier, is_main_process

from .camera_motion import NUM_VIDEOS, make_camera_motion
from .moving_camera import CLASSES


@DATASETS.register_module()
class CameraMotionDataset(VideoDataset):
    """Videos of camera motion, made on first use.

    Eight classes, which no single frame tells apart: see
    :func:`make_camera_motion`. Where several processes run, the main one
    makes the videos and the others wait; on several nodes, ``data_root`` has
    to be a folder that all of them see.

    Args:
        data_root (str): Folder of the data.
        split (str): ``'train'`` or ``'val'``.
        pipeline (list): Data transforms, as in ``VideoDataset``.
        num_videos (int, optional): Number of videos of this split. Defaults
            to None, 4096 for train and 1024 for val.
        num_frames (int): Frames of a video. Defaults to 16.
        size (Sequence[int]): Width and height, in pixels.
            Defaults to (64, 48).
        speed (Sequence[float]): Lowest and highest speed of the camera, in
            pixels a frame. Defaults to (4., 8.).
        seed (int): Seed of the whole data set. Defaults to 0.
        **kwargs: Further arguments of ``VideoDataset``, like ``test_mode``.

    Raises:
        ValueError: If ``split`` is unknown, a parameter is out of range, or
            ``data_root`` holds videos made with other parameters.
    """

    METAINFO = dict(classes=CLASSES)

    def __init__(self,
                 data_root: str,
                 split: str,
                 pipeline: List[Union[dict, Callable]],
                 num_videos: Optional[int] = None,
                 num_frames: int = 16,
                 size: Sequence[int] = (64, 48),
                 speed: Sequence[float] = (4., 8.),
                 seed: int = 0,
                 **kwargs) -> None:
        if split not in NUM_VIDEOS:
            raise ValueError(f'split must be one of {list(NUM_VIDEOS)}, but '
                             f'got {split!r}.')
        if is_main_process():
            number = NUM_VIDEOS[split] if num_videos is None else num_videos
            make_camera_motion(data_root, {split: number}, num_frames, size,
                               speed, seed)
        barrier()
        super().__init__(
            f'{split}.txt', pipeline, data_root=data_root, **kwargs)
