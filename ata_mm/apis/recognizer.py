# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Recognise the action in a video file."""

import copy
import os.path as osp
import warnings
from pathlib import Path

import torch
from mmaction.apis import ActionRecogInferencer, init_recognizer
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from torch import Tensor, nn

from ata_mm.checkpoints import (
    check_finite_weights,
    name_as_recognizer,
    read_checkpoint,
)
from ata_mm.datasets.annotations import read_lines
from ata_mm.video.pipeline import FilePipeline, parse_views, set_views

from .config import (
    check_checkpoint,
    load_config,
    read_video_files,
    use_device,
)
from .preprocessing import (
    expected_statistics,
    preprocessing_fault,
    saved_statistics,
)


class VideoRecognizer:
    """A trained recognizer that predicts the action in a video file.

    It reads a file with the test pipeline of the config and averages the same
    views; scores equal those of ``tools/test.py``. All views of a video form
    one batch. If they exceed the memory, set
    ``model.test_cfg.max_testing_views`` in the config. A config that
    normalises pixels in another way than the training of the checkpoint did is
    named in a warning.

    Args:
        config (str | Path | Config): The config, or its file.
        checkpoint (str | Path): The trained weights: a file or a URL.
        device (str, optional): ``'cpu'``, ``'cuda'``, ``'cuda:1'``, … .
            Defaults to None, the GPU if available.
        views (str, optional): Crops x clips, such as ``'3x1'`` for three crops
            of one clip. Defaults to None, those of the test pipeline.
        amp (bool): Whether to compute in half precision: fp16 on a GPU, bf16
            on a CPU. Defaults to False.

    Raises:
        FileNotFoundError: If the config or the checkpoint does not exist.
        ValueError: If the checkpoint does not fit the model or has a weight
            that is NaN or infinite, the device is not available, or the
            pipeline does not support the views or video files.

    Example:
        >>> recognize = VideoRecognizer('config.py', 'checkpoint.pth')
        >>> recognize('clip.mp4')  # [('pan left', 0.93), ('roll', 0.04), …]
    """

    def __init__(
        self,
        config: str | Path | Config,
        checkpoint: str | Path,
        device: str | None = None,
        views: str | None = None,
        amp: bool = False,
    ) -> None:
        checkpoint = str(checkpoint)
        cfg = (
            load_config(config)
            if not isinstance(config, Config)
            else copy.deepcopy(config)
        )
        read_video_files(cfg)
        if views is not None:
            set_views(cfg, *parse_views(views))
        check_checkpoint(checkpoint)
        device = str(use_device(device or get_device()))
        self.inferencer = ViewsInferencer(cfg, checkpoint, device)
        self.inferencer.amp = amp
        self.classes = class_names(cfg, self.inferencer.meta)
        expected = saved_statistics(self.inferencer.meta)
        fault = preprocessing_fault(
            cfg, expected or expected_statistics(cfg, checkpoint)
        )
        if fault:
            warnings.warn(fault, stacklevel=2)

    @property
    def cfg(self) -> Config:
        """The config, with the requested views."""
        return self.inferencer.cfg

    @property
    def model(self) -> nn.Module:
        """The recognizer of MMAction2."""
        return self.inferencer.model

    def __call__(
        self, video: str | Path, topk: int = 5
    ) -> list[tuple[str, float]]:
        """Predict the most likely actions in a video.

        Args:
            video (str | Path): The video file.
            topk (int): Maximal number of labels. Defaults to 5.

        Returns:
            list[tuple[str, float]]: Labels and scores, best first.

        Raises:
            FileNotFoundError, ValueError: As :meth:`scores`.
        """
        return self.rank(self.scores(video), topk)

    def scores(self, video: str | Path) -> Tensor:
        """Compute the scores of all classes, averaged over the test views.

        Warns of a video shorter than a clip, whose frames MMAction2's
        ``SampleFrames`` repeats.

        Args:
            video (str | Path): The video file.

        Returns:
            Tensor: Scores (num_classes,) on the CPU.

        Raises:
            FileNotFoundError: If the file does not exist.
            ValueError: If it is not a video or cannot be decoded, or if the
                model does not average its views.
        """
        return self.score(self.read(video))

    def read(self, video: str | Path) -> dict:
        """Read a video file with the test pipeline.

        To read files in other processes, whose crashes cost one file, pass
        this method to :class:`ata_mm.video.Workers`.

        Args:
            video (str | Path): The video file.

        Returns:
            dict: Its views, for :meth:`score`.

        Raises:
            FileNotFoundError: If the file does not exist.
            ValueError: If it is not a video or cannot be decoded.
        """
        sample = dict(filename=str(video), label=-1, start_index=0)
        return self.inferencer.pipeline(dict(sample, modality='RGB'))

    def score(self, sample: dict) -> Tensor:
        """Compute the scores of a video that :meth:`read` returned.

        Args:
            sample (dict): Views of the video.

        Returns:
            Tensor: Scores (num_classes,) on the CPU.

        Raises:
            ValueError: If the model does not average its views.
        """
        return self.inferencer.score([sample])[0]

    def score_each(self, samples: list[dict]) -> list[Tensor | Exception]:
        """Compute the scores of several videos, in one batch if possible.

        That is, if their views have one size, and all of them can be scored.

        Args:
            samples (list[dict]): Views of each video, by :meth:`read`.

        Returns:
            list[Tensor | ValueError]: Scores (num_classes,) on the CPU of each
            video, or the reason why it has none.
        """
        try:
            if len({sample['inputs'].shape for sample in samples}) == 1:
                return list(self.inferencer.score(samples))
        except ValueError as error:
            if len(samples) == 1:
                return [error]
        return [self.score_each([sample])[0] for sample in samples]

    def rank(self, scores: Tensor, topk: int) -> list[tuple[str, float]]:
        """Label the highest scores.

        Args:
            scores (Tensor): (num_classes,).
            topk (int): Maximal number of labels.

        Returns:
            list[tuple[str, float]]: Labels and scores, best first.
        """
        best = scores.sort(descending=True, stable=True)
        labels = [self.classes[index] for index in best.indices.tolist()]
        return list(zip(labels, best.values.tolist()))[:topk]


class ViewsInferencer(ActionRecogInferencer):
    """MMAction2's inferencer with all views of the test pipeline.

    MMAction2's own takes one clip and the centre crop, with other scores than
    in a test, and leaves weights that a checkpoint lacks at random values.

    Args:
        cfg (Config): The config.
        checkpoint (str): The trained weights.
        device (str): Device as in torch.

    Attributes:
        amp (bool): Whether the model computes in half precision.
    """

    amp = False

    def __init__(self, cfg: Config, checkpoint: str, device: str) -> None:
        super().__init__(
            cfg, checkpoint, device, scope=cfg.get('default_scope', 'mmaction')
        )

    def score(self, samples: list[dict]) -> Tensor:
        """Compute the scores of packed samples.

        Args:
            samples (list[dict]): Outputs of the pipeline.

        Returns:
            Tensor: (len(samples), num_classes) on the CPU.

        Raises:
            ValueError: If the model does not average its views, or a score is
                NaN or infinite.
        """
        device = next(self.model.parameters()).device
        with torch.autocast(device.type, enabled=self.amp):
            results = self.forward(self.collate_fn(samples))
        scores = torch.stack([r.pred_score for r in results]).float().cpu()
        if scores.ndim != 2:
            raise ValueError(
                'Expected one score for each class, got one for each of '
                f'{scores.shape[1]} views. Set '
                "model.cls_head.average_clips='prob' in the config."
            )
        if not scores.isfinite().all():
            raise ValueError(
                'Expected finite scores, got NaN or infinity from finite '
                'weights. Check data_preprocessor in the config, and that the '
                'checkpoint is not from a diverging training.'
            )
        return scores

    def _init_model(self, cfg: Config, weights: str, device: str) -> nn.Module:
        model = init_recognizer(cfg, device=device)
        self.meta = load_weights(model, weights)
        return model

    def _init_pipeline(self, cfg: Config) -> FilePipeline:
        return FilePipeline(cfg.test_dataloader.dataset.pipeline)

    def _init_visualizer(self, cfg: Config) -> None:
        """Build no visualizer.

        MMAction2's requires an old version of moviepy and keeps all frames in
        memory.
        """


def class_names(cfg: Config, meta: dict) -> list[str]:
    """Look up the names of the classes.

    They are the ``classes`` in the ``metainfo`` of the test data set, a list
    or a text file with one name per line. If the config has none or the file
    does not exist, they are those that training saved in the checkpoint, or
    else ``'class 0'``, ``'class 1'``, … . Line breaks in a name become spaces.

    Args:
        cfg (Config): The config of the model.
        meta (dict): The ``meta`` of the checkpoint.

    Returns:
        list[str]: The name of each class.

    Raises:
        ValueError: If they are not a list, or more or fewer names than
            classes.
    """
    number = cfg.model.cls_head.num_classes
    names = (cfg.test_dataloader.dataset.get('metainfo') or {}).get('classes')
    where = 'metainfo.classes of test_dataloader.dataset'
    if isinstance(names, str):
        names = read_lines(names) if osp.isfile(names) else None
    if not names:
        saved = meta.get('dataset_meta')
        names = saved.get('classes') if isinstance(saved, dict) else None
        where = "the checkpoint's meta['dataset_meta']['classes']"
    # mmengine saves the path if the text file did not exist.
    if not names or isinstance(names, str):
        return [f'class {index}' for index in range(number)]
    if not isinstance(names, (list, tuple)) or len(names) != number:
        count = len(names) if isinstance(names, (list, tuple)) else names
        raise ValueError(
            f'Expected one name for each of the {number} classes of the model '
            f'in {where}, got {count}. Set metainfo.classes of '
            'test_dataloader.dataset to a list, or to a text file with one '
            'name per line.'
        )
    # A byte order mark in front, as Windows Notepad writes it.
    return [' '.join(str(name).lstrip('\ufeff').split()) for name in names]


def load_weights(model: nn.Module, checkpoint: str) -> dict:
    """Load every weight of a model.

    Args:
        model (nn.Module): The recognizer.
        checkpoint (str): A file or a URL.

    Returns:
        dict: The ``meta`` of the checkpoint.

    Raises:
        ValueError: If the checkpoint does not fit the model or has a weight
            that is NaN or infinite.
    """
    loaded = read_checkpoint(checkpoint, logger='silent')
    try:
        name_as_recognizer(loaded, model)
        _load_checkpoint_to_model(model, loaded, strict=True, logger='silent')
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            'Expected a checkpoint of the model of the config, '
            f'but {checkpoint} does not fit the model: '
            f'{error}'
        ) from error
    check_finite_weights(model.state_dict(), checkpoint)
    meta = loaded.get('meta')
    return meta if isinstance(meta, dict) else {}
