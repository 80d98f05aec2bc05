# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Logs of what the matchings of a training are like."""
import logging
from typing import List, Optional

import numpy as np
from mmaction.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import Tensor

from ata_mm.introspection.alignment_record import AlignmentRecord, now


@HOOKS.register_module()
class AlignmentHook(Hook):
    """Log how far patches travel, and what the matching costs.

    In the iterations that mmengine's ``LoggerHook`` of the same interval logs,
    of the clips of the main process, as means over all :class:`ATA` of the
    model:

    - ``alignment/displacement``: how far a step of a route goes, in patches;
    - ``alignment/in_place``: the share of steps that stay at their place;
    - ``alignment/similarity``: the cosine similarity of matched patches;
    - ``alignment/time_share``: the share of a training step (forward,
      backward, update; without data loading) that the matching takes;

    and every few epochs a picture ``routes``: patches of the first clip of the
    epoch's last batch, followed through the frames, as the first ATA matches
    them. All of it comes from the alignments that the model used: nothing is
    matched twice. One line switches it on, another one sends it, like all
    else that is logged, to TensorBoard or Weights & Biases::

        default_hooks = dict(alignment=dict(type='AlignmentHook'))
        visualizer = dict(vis_backends=[dict(type='LocalVisBackend'),
                                        dict(type='TensorboardVisBackend')])

    (or 'WandbVisBackend'; ``pip install '.[tracking]'`` has both packages).

    Args:
        interval (int): Log every so many iterations of an epoch, and at its
            end. Defaults to 20, as ``LoggerHook`` in our recipes.
        picture_interval (int): Draw every so many epochs; 0 for no pictures.
            Defaults to 1.

    Raises:
        ValueError: If ``interval`` is below 1 or ``picture_interval`` below 0.
    """

    priority = 'NORMAL'  # before LoggerHook, which writes what is logged here

    def __init__(self, interval: int = 20, picture_interval: int = 1) -> None:
        if interval < 1 or picture_interval < 0:
            raise ValueError(
                'Expected interval of 1 or more and picture_interval of 0 or '
                f'more, got interval={interval} and picture_interval='
                f'{picture_interval}.')
        self.interval = interval
        self.picture_interval = picture_interval
        self._record = AlignmentRecord()
        self._record.stop()
        self._start: Optional[float] = None  # of a step that is logged

    def before_train(self, runner: Runner) -> None:
        """Find the model's temporal modules."""
        if is_main_process() and not self._record.attach(runner.model):
            print_log(
                'AlignmentHook has nothing to log: the model has no ATA.',
                logger='current',
                level=logging.WARNING)

    def before_train_iter(self,
                          runner: Runner,
                          batch_idx: int,
                          data_batch: Optional[dict] = None) -> None:
        """Listen, if this step is to be logged."""
        if is_main_process() and (
                self.every_n_inner_iters(batch_idx, self.interval)
                or self.end_of_epoch(runner.train_dataloader, batch_idx)):
            self._record.restart()
            self._start = now()

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: Optional[dict] = None,
                         outputs: Optional[dict] = None) -> None:
        """Log what was heard."""
        if self._start is None:
            return
        seconds, self._start = now() - self._start, None
        self._record.stop()
        if self._record.first is None:
            return
        values = self._record.means()
        values['time_share'] = self._record.seconds / seconds
        for name, value in values.items():
            runner.message_hub.update_scalar(f'train/alignment/{name}', value)
        if (self.every_n_epochs(runner, self.picture_interval)
                and self.end_of_epoch(runner.train_dataloader, batch_idx)):
            self._draw(runner, data_batch['inputs'][0])

    def after_train(self, runner: Runner) -> None:
        """Leave the model as it was."""
        self._record.detach(runner.model)

    def _draw(self, runner: Runner, inputs: Tensor) -> None:
        # Imported late: matplotlib takes about a second.
        from ata_mm.visualization import choose_patches, routes_figure
        from ata_mm.visualization.canvas import DPI, render
        alignment, similarity, grid = self._record.first
        if grid is None:
            return
        frames = _frames(inputs, alignment.routes.shape[1])
        patches = choose_patches(frames, grid, similarity=similarity[0])
        figure = routes_figure(frames, alignment, grid, patches, similarity)
        figure.set_dpi(DPI)
        runner.visualizer.add_image('routes', render(figure), runner.iter + 1)


def _frames(inputs: Tensor, num_frames: int) -> List[np.ndarray]:
    """The frames of the first clip of a video, as pictures (H, W, 3).

    Args:
        inputs (Tensor): As a pipeline packs a video: (V, 3, T, H, W) for a
            Recognizer3D, (T, 3, H, W) for a Recognizer2D.
        num_frames (int): Frames that the temporal modules see, which may be
            fewer where a backbone has strides in time.
    """
    clip = inputs[0].transpose(0, 1) if inputs.ndim == 5 else inputs
    clip = clip[::max(1, len(clip) // num_frames)][:num_frames]
    return list(clip.permute(0, 2, 3, 1).cpu().numpy().astype(np.uint8))
