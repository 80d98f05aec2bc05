# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Recognise the action in a video file."""
import copy
import os.path as osp
from pathlib import Path
from typing import List, Optional, Tuple, Union

from decord import DECORDError
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.fileio import list_from_file
from torch import Tensor, nn

from ata_mm.video.files import check_video_file, undecodable
from ata_mm.video.pipeline import parse_views, set_views

from .config import check_checkpoint, load_config
from .device import use_device
from .inferencer import ViewsInferencer


def class_names(cfg: Config, meta: dict) -> List[str]:
    """Look up the names of the classes.

    They are the ``classes`` in the ``metainfo`` of the test data set, a list
    or a text file with one name a line; where the config has none or the file
    is not there, those that training saved in the checkpoint; and without
    these ``'class 0'``, ``'class 1'``, … .

    Args:
        cfg (Config): The config of the model.
        meta (dict): The ``meta`` of the checkpoint.

    Returns:
        list[str]: The name of each class.

    Raises:
        ValueError: If there are more or fewer names than classes.
    """
    number = cfg.model.cls_head.num_classes
    names = cfg.test_dataloader.dataset.get('metainfo', {}).get('classes')
    if isinstance(names, str):
        names = list_from_file(names) if osp.isfile(names) else None
    names = names or (meta.get('dataset_meta') or {}).get('classes')
    # mmengine saves the bare path where the text file was not there.
    if not names or isinstance(names, str):
        return [f'class {index}' for index in range(number)]
    if len(names) != number:
        raise ValueError(f'the model has {number} classes, but the data set '
                         f'names {len(names)}; mend metainfo.classes of '
                         'test_dataloader.dataset')
    return list(names)


class VideoRecognizer:
    """A trained recognizer that names what happens in a video file.

    It reads a file with the pipeline of the config's ``test_dataloader`` and
    averages the same views, so its scores are those of ``tools/test.py``. All
    views of a video go through the model as one batch; where they are too
    many for the memory, ``model.test_cfg.max_testing_views`` of the config
    says how many at a time.

    Args:
        config (str | Path | Config): The config, or its file.
        checkpoint (str): The trained weights: a file or a URL.
        device (str, optional): ``'cpu'``, ``'cuda'``, ``'cuda:1'``, … .
            Defaults to None, the GPU where there is one.
        views (str, optional): Crops times clips, ``'3x1'`` for three crops of
            one clip. Defaults to None, those of the test pipeline.

    Raises:
        FileNotFoundError: If the config or the checkpoint does not exist.
        ValueError: If the checkpoint does not fit the model, CUDA is asked for
            and not there, or the pipeline cannot take such views.

    Example:
        >>> recognize = VideoRecognizer('config.py', 'checkpoint.pth')
        >>> recognize('clip.mp4')  # [('pan left', 0.93), ('roll', 0.04), …]
    """

    def __init__(self,
                 config: Union[str, Path, Config],
                 checkpoint: str,
                 device: Optional[str] = None,
                 views: Optional[str] = None) -> None:
        cfg = load_config(config) if not isinstance(
            config, Config) else copy.deepcopy(config)
        if views is not None:
            set_views(cfg, *parse_views(views))
        check_checkpoint(checkpoint)
        device = str(use_device(device or get_device()))
        self.inferencer = ViewsInferencer(cfg, checkpoint, device)
        self.classes = class_names(cfg, self.inferencer.meta)

    @property
    def cfg(self) -> Config:
        """The config, with the views asked for."""
        return self.inferencer.cfg

    @property
    def model(self) -> nn.Module:
        """The recognizer of MMAction2."""
        return self.inferencer.model

    def __call__(self,
                 video: Union[str, Path],
                 topk: int = 5) -> List[Tuple[str, float]]:
        """Name the most likely actions in a video.

        Args:
            video (str | Path): The video file.
            topk (int): How many to return, at most. Defaults to 5.

        Returns:
            list[tuple[str, float]]: Labels and scores, the best first.

        Raises:
            FileNotFoundError, ValueError: As :meth:`scores`.
        """
        return self.rank(self.scores(video), topk)

    def scores(self, video: Union[str, Path]) -> Tensor:
        """Compute the scores of all classes, averaged over the test views.

        A video shorter than a clip is warned of: MMAction2's ``SampleFrames``
        repeats its frames.

        Args:
            video (str | Path): The video file.

        Returns:
            Tensor: Scores (num_classes,) on the CPU.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is a directory or an image or cannot be decoded,
                or if the model does not average its views.
        """
        video = str(video)
        check_video_file(video)
        try:
            sample = self.inferencer.pipeline(video)
        except (RuntimeError, DECORDError) as error:
            raise undecodable(video) from error
        return self.inferencer.score([sample])[0]

    def rank(self, scores: Tensor, topk: int) -> List[Tuple[str, float]]:
        """Name the best of the scores (num_classes,), the best first."""
        best = scores.sort(descending=True, stable=True)
        labels = [self.classes[index] for index in best.indices.tolist()]
        return list(zip(labels, best.values.tolist()))[:topk]
