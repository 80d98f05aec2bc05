# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Recognise the action in a video file."""
import os.path as osp
from pathlib import Path
from typing import List, Optional, Tuple, Union

import torch
from decord import DECORDError
from mmaction.apis import init_recognizer
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.device import get_device
from mmengine.fileio import list_from_file
from mmengine.runner.checkpoint import (_load_checkpoint,
                                        _load_checkpoint_to_model)
from torch import Tensor

from ata_mm.checkpoints import name_as_recognizer

from .config import check_checkpoint, load_config


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
    averages the same views, so its scores are those of ``tools/test.py``.

    Args:
        config (str | Path | Config): The config, or its file.
        checkpoint (str): The trained weights: a file or a URL.
        device (str, optional): ``'cpu'``, ``'cuda'``, ``'cuda:1'``, … .
            Defaults to None, the GPU where there is one.

    Raises:
        FileNotFoundError: If the config or the checkpoint does not exist.
        ValueError: If the checkpoint does not fit the model, or CUDA is asked
            for and not there.

    Example:
        >>> recognize = VideoRecognizer('config.py', 'checkpoint.pth')
        >>> recognize('clip.mp4')  # [('pan left', 0.93), ('roll', 0.04), …]
    """

    def __init__(self,
                 config: Union[str, Path, Config],
                 checkpoint: str,
                 device: Optional[str] = None) -> None:
        cfg = config if isinstance(config, Config) else load_config(config)
        check_checkpoint(checkpoint)
        device = device or get_device()
        if device.startswith('cuda') and not torch.cuda.is_available():
            raise ValueError(f'device {device!r} needs CUDA and none is '
                             "available here; use 'cpu'")
        self.model = init_recognizer(cfg, device=device)
        meta = self._load(checkpoint)
        self.pipeline = Compose(cfg.test_dataloader.dataset.pipeline)
        self.classes = class_names(cfg, meta)

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
        best = self.scores(video).sort(descending=True, stable=True)
        labels = [self.classes[index] for index in best.indices.tolist()]
        return list(zip(labels, best.values.tolist()))[:topk]

    def scores(self, video: Union[str, Path]) -> Tensor:
        """Compute the scores of all classes, averaged over the test views.

        Args:
            video (str | Path): The video file.

        Returns:
            Tensor: Scores (num_classes,) on the CPU.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is a directory or cannot be decoded, or if the
                model does not average its views.
        """
        batch = pseudo_collate([self._read(str(video))])
        with torch.no_grad():
            scores = self.model.test_step(batch)[0].pred_score.cpu()
        if scores.ndim != 1:
            raise ValueError(
                'expected one score a class, got one for each of '
                f'{scores.shape[0]} views; set '
                "model.cls_head.average_clips='prob' in the config")
        return scores

    def _load(self, checkpoint: str) -> dict:
        """Load every weight of the model, return the checkpoint's meta."""
        try:
            loaded = _load_checkpoint(
                checkpoint, map_location='cpu', logger='silent')
            name_as_recognizer(loaded, self.model)
            _load_checkpoint_to_model(
                self.model, loaded, strict=True, logger='silent')
        except (RuntimeError, ValueError) as error:
            raise ValueError(f'checkpoint {checkpoint} does not fit the '
                             f'model of the config: {error}') from error
        return loaded.get('meta', {})

    def _read(self, video: str) -> dict:
        """Run the test pipeline on a file."""
        if osp.isdir(video):
            raise ValueError(f'{video} is a directory; expected a video file')
        if not osp.isfile(video):
            raise FileNotFoundError(
                f'{video} does not exist; expected a video file')
        if not osp.splitext(video)[1]:  # mmaction2 would look for video.mp4
            raise ValueError(f'{video} has no suffix; expected a video file '
                             'with one, such as .mp4')
        sample = dict(filename=video, label=-1, start_index=0, modality='RGB')
        try:
            return self.pipeline(sample)
        except (RuntimeError, DECORDError) as error:
            raise ValueError(
                f'{video} cannot be decoded; expected a video file with at '
                'least one whole frame, such as .mp4, .avi or .webm'
            ) from error
