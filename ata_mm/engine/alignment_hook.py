# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Hook that logs alignment statistics."""

import logging

import numpy as np
from mmaction.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook, LoggerHook
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import Tensor

from ata_mm.introspection import AlignedClip, AlignmentRecord
from ata_mm.introspection.listener import now
from ata_mm.models import ATA

_PREFIX = 'train/alignment/'


@HOOKS.register_module()
class AlignmentHook(Hook):
    """Hook that logs alignment statistics and the cost of the matching.

    It measures in the iterations that mmengine's ``LoggerHook`` of the same
    interval logs, for the clips of the main process. A ``LoggerHook`` of
    another interval logs the newest values, each once. Means over all
    :class:`~ata_mm.models.ATA` of the model:

    - ``alignment/displacement``: length of a step of a route, in patches;
    - ``alignment/in_place``: share of steps that stay at their position;
    - ``alignment/similarity``: cosine similarity of the patches of a step;
    - ``alignment/rejected``: share of rejected matches, if the model has a
      ``min_similarity``;
    - ``alignment/time_share``: share of the matching in the time of a training
      step (forward, backward, update; without data loading);

    and every few epochs a picture ``routes``: patches of the first clip of the
    epoch's last batch, followed through the frames along the routes of the
    first ATA. All values come from the alignments that the model has used:
    nothing is matched twice. One line in the config enables the hook; another
    one sends its values, like all others, to TensorBoard or Weights &
    Biases::

        default_hooks = dict(alignment=dict(type='AlignmentHook'))
        visualizer = dict(vis_backends=[dict(type='LocalVisBackend'),
                                        dict(type='TensorboardVisBackend')])

    (or 'WandbVisBackend'; ``pip install '.[tracking]'`` has both packages).

    Args:
        interval (int): Iterations of an epoch from one measured to the next;
            the last one is measured, too. Defaults to 20, as ``LoggerHook`` in
            our recipes.
        picture_interval (int): Epochs from one picture to the next; 0 for no
            pictures. Defaults to 1.

    Raises:
        ValueError: If ``interval`` is below 1 or ``picture_interval`` below 0.
    """

    # Before LoggerHook, which writes the values logged here.
    priority = 'NORMAL'

    def __init__(self, interval: int = 20, picture_interval: int = 1) -> None:
        if interval < 1 or picture_interval < 0:
            raise ValueError(
                'Expected interval of 1 or more and picture_interval of 0 or '
                f'more, got interval={interval} and picture_interval='
                f'{picture_interval}.'
            )
        self.interval = interval
        self.picture_interval = picture_interval
        self._record = AlignmentRecord()
        self._record.stop()
        # Of a measured step; None between them.
        self._start_time: float | None = None

    def before_train(self, runner: Runner) -> None:
        """Attach the record to the model."""
        if not is_main_process():
            return
        # Attached during the whole training, and paused: a compiled model does
        # not call hooks that are registered after it was traced.
        self._record.attach(runner.model)
        if not any(isinstance(m, ATA) for m in runner.model.modules()):
            print_log(
                'AlignmentHook has nothing to log: the model has no ATA.',
                logger='current',
                level=logging.WARNING,
            )

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Start the record if this step is measured."""
        if not is_main_process():
            return
        self._forget_logged(runner, batch_idx)
        if self.every_n_inner_iters(
            batch_idx, self.interval
        ) or self.end_of_epoch(runner.train_dataloader, batch_idx):
            self._record.restart()
            self._start_time = now()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Pass the statistics of this step to the logger."""
        if self._start_time is None:
            return
        seconds, self._start_time = now() - self._start_time, None
        self._record.stop()
        first = self._record.first
        if first is None:  # a model without ATA
            return
        values = self._record.means()
        values['time_share'] = self._record.seconds / seconds
        for name, value in values.items():
            runner.message_hub.update_scalar(f'{_PREFIX}{name}', value)
        if (
            data_batch is not None
            and self.every_n_epochs(runner, self.picture_interval)
            and self.end_of_epoch(runner.train_dataloader, batch_idx)
        ):
            self._draw(runner, first, data_batch['inputs'][0])

    def after_train(self, runner: Runner) -> None:
        """Detach the record."""
        self._record.detach()

    def _forget_logged(self, runner: Runner, batch_idx: int) -> None:
        """Drop the values that were logged in the step before this one.

        ``LoggerHook`` logs all values in the message hub, old ones again.
        """
        loggers = [h for h in runner.hooks if isinstance(h, LoggerHook)]
        if any(batch_idx % logger.interval == 0 for logger in loggers):
            logged = runner.message_hub.log_scalars
            for key in [key for key in logged if key.startswith(_PREFIX)]:
                del logged[key]

    def _draw(
        self, runner: Runner, first: AlignedClip, inputs: Tensor
    ) -> None:
        # Imported late, since matplotlib takes about a second.
        from ata_mm.visualization import choose_patches, routes_figure
        from ata_mm.visualization.canvas import DPI, render

        alignment, similarity, grid = first
        if grid is None:
            return
        frames = _frames(inputs, alignment.routes.shape[1])
        patches = choose_patches(alignment, grid, similarity)
        figure = routes_figure(frames, alignment, grid, patches, similarity)
        figure.set_dpi(DPI)
        runner.visualizer.add_image('routes', render(figure), runner.iter + 1)


def _frames(inputs: Tensor, num_frames: int) -> list[np.ndarray]:
    """Return the frames of the first clip of a video, as RGB pictures.

    Args:
        inputs (Tensor): A video as a pipeline packs it: (V, 3, T, H, W) for a
            Recognizer3D, (T, 3, H, W) for a Recognizer2D.
        num_frames (int): Frames T' at the temporal modules, fewer than T if
            the backbone has a stride in time.

    Returns:
        list[np.ndarray]: T' pictures (H, W, 3), uint8.
    """
    clip = inputs[0].transpose(0, 1) if inputs.ndim == 5 else inputs
    clip = clip[:: max(1, len(clip) // num_frames)][:num_frames]
    return list(clip.permute(0, 2, 3, 1).cpu().numpy().astype(np.uint8))
