# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Runner of trainings that may be interrupted at any time."""

import copy
import ctypes
import os.path as osp
import signal
import sys
from collections.abc import Callable, Mapping

from mmaction.registry import RUNNERS
from mmengine.dist import get_rank, is_main_process
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import BaseLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from ata_mm.ops.validation import NotFiniteError
from ata_mm.video.pipeline import type_name

from .checkpoint_hook import ResumableCheckpointHook
from .data_loading import make_resumable
from .divergence_hook import DivergenceHook
from .early_stopping_hook import ResumableEarlyStoppingHook
from .errors import DivergenceError, ResumeError
from .finite_scores_hook import FiniteScoresHook
from .loops import ResumableEpochLoop, ResumableIterLoop
from .resuming import ResumePoint, checkpoints_in, find_resume_point
from .run_state_hook import (
    AccumulatedGradientsHook,
    InterruptedValidationHook,
    RunStateHook,
)

_LOOPS = {
    'EpochBasedTrainLoop': ResumableEpochLoop,
    'IterBasedTrainLoop': ResumableIterLoop,
}
_HOOKS = {
    'CheckpointHook': ResumableCheckpointHook,
    'EarlyStoppingHook': ResumableEarlyStoppingHook,
}


@RUNNERS.register_module()
class ResumableRunner(Runner):
    """Runner with exact resume and detection of divergence.

    - A resumed training is the training: its samples, their order, random
      numbers, best score and an interrupted validation are those of an
      uninterrupted one. On a CPU the weights are bit-identical.
    - ``resume=True`` takes the newest readable checkpoint of the work
      directory; see :func:`~ata_mm.engine.resuming.newest`. With
      ``resume='auto'`` a work directory without a checkpoint lets training
      start from ``load_from``.
    - A loss, gradient or score that is NaN or infinite ends it, after the
      state before this iteration has been saved.
    - Its processes end with their launcher, and on a full shared memory.

    mmengine's epoch- and iteration-based loops, its ``CheckpointHook`` and its
    ``EarlyStoppingHook`` are replaced by subclasses, under any name in the
    config. Set
    ``runner_type='ResumableRunner'`` in a config for MMAction2's own
    ``tools/train.py``; ours uses it for every config without a runner type.

    Args:
        See :class:`mmengine.runner.Runner`.
    """

    _hooks: list[Hook]
    _source: ResumePoint | None = None

    def __init__(
        self,
        *args: object,
        load_from: str | None = None,
        resume: bool | str = False,
        **kwargs: object,
    ) -> None:
        # Known before mmengine seeds the generators: the seed is in the file.
        self._wanted = (resume, None if resume == 'auto' else load_from)
        super().__init__(
            *args, load_from=load_from, resume=bool(resume), **kwargs
        )

    @property
    def resumed_iter(self) -> int:
        """Number of iterations done by the run that is resumed, or 0."""
        return self._source.iter if self._source else 0

    def setup_env(self, env_cfg: dict) -> None:
        """Set up the processes, and find the checkpoint to resume from."""
        if self._launcher == 'pytorch':
            end_with_parent()
        super().setup_env(env_cfg)
        resume, path = self._wanted
        if resume:
            self._source = find_resume_point(self.work_dir, path)

    def set_randomness(self, seed: int | None = None, **kwargs: bool) -> None:
        """Seed all generators, with the seed of the run that is resumed."""
        if self._source and self._source.seed is not None:
            seed = self._source.seed
        super().set_randomness(seed, **kwargs)

    @staticmethod
    def build_dataloader(
        dataloader: DataLoader | dict,
        seed: int | None = None,
        diff_rank_seed: bool = False,
    ) -> DataLoader:
        """Build a loader whose samples are a function of seed and position.

        Args:
            dataloader (DataLoader | dict): The loader, returned as it is, or
                its config.
            seed (int, optional): Seed of the run. Defaults to None.
            diff_rank_seed (bool): Whether processes have seeds of their own.
                Defaults to False.

        Returns:
            DataLoader: The loader.
        """
        loader = Runner.build_dataloader(dataloader, seed, diff_rank_seed)
        if loader is not dataloader:
            make_resumable(loader, seed)
        return loader

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the training loop, the resumable one for mmengine's."""
        if isinstance(loop, dict):
            loop = copy.deepcopy(loop)
            if 'by_epoch' in loop and 'type' not in loop:
                by_epoch = loop.pop('by_epoch')
                loop['type'] = list(_LOOPS)[0 if by_epoch else 1]
            if 'type' not in loop:
                raise ValueError(
                    'Expected train_cfg with by_epoch or a type, such as '
                    f"type='EpochBasedTrainLoop', got {loop}."
                )
            loop['type'] = _replace(loop['type'], _LOOPS)
        return super().build_train_loop(loop)

    def register_hooks(
        self,
        default_hooks: dict[str, Hook | dict] | None = None,
        custom_hooks: list[Hook | dict] | None = None,
    ) -> None:
        """Register the hooks of the config and those of this runner."""
        super().register_hooks(default_hooks, custom_hooks)
        for hook in (
            RunStateHook(),
            AccumulatedGradientsHook(),
            InterruptedValidationHook(),
            DivergenceHook(),
            FiniteScoresHook(),
        ):
            self.register_hook(hook)

    def register_hook(
        self,
        hook: Hook | dict,
        priority: str | int | None = None,
    ) -> None:
        """Register a hook, the resumable one for some of mmengine's."""
        if isinstance(hook, dict) and 'type' in hook:
            hook = dict(hook, type=_replace(hook['type'], _HOOKS))
        super().register_hook(hook, priority)

    def load_or_resume(self) -> None:
        """Load or resume the checkpoint that has been found."""
        if self._wanted[0] and not self._has_loaded:
            if self._source:
                self._load_from = self._source.path
                if self._source.skipped:
                    self.logger.warning(
                        f'Resuming from {self._source.path}. Passed over: '
                        f'{self._source.skipped}'
                    )
            else:
                self._resume = False
                start = self._load_from or 'its initial weights'
                self.logger.warning(
                    f'There is no checkpoint to resume from in '
                    f'{self.work_dir}. Training starts from {start}.'
                )
        super().load_or_resume()

    def load_checkpoint(
        self,
        filename: str,
        map_location: str | Callable = 'cpu',
        strict: bool = False,
        **kwargs: list,
    ) -> dict:
        """Load a checkpoint, every weight of it to resume from it."""
        strict = strict or self._resume
        return super().load_checkpoint(
            filename, map_location, strict, **kwargs
        )

    def resume(self, filename: str, *args: bool, **kwargs: bool) -> None:
        """Resume a checkpoint.

        Args:
            filename (str): The checkpoint.
            *args: See :meth:`mmengine.runner.Runner.resume`.
            **kwargs: The same.

        Raises:
            ResumeError: If it is of another model or optimizer.
        """
        try:
            super().resume(filename, *args, **kwargs)
            _check_settings(self.optim_wrapper)
        except (KeyError, RuntimeError, ValueError) as error:
            reason = (
                f'its optimizer has no {error}.'
                if isinstance(error, KeyError)
                else error
            )
            raise ResumeError(
                'Expected a checkpoint of the model and the optimizer of the '
                f'config to resume from, got {filename}: {reason} To start a '
                'new training from its weights, use --cfg-options '
                f'load_from={filename} without --resume.'
            ) from error

    def train(self) -> nn.Module:
        """Train the model.

        Returns:
            nn.Module: The trained model.

        Raises:
            DivergenceError: If a loss, gradient or score is NaN or infinite.
        """
        earlier = [] if self._wanted[0] else checkpoints_in(self.work_dir)
        if earlier:
            self.logger.warning(
                f'{self.work_dir} has checkpoints of an earlier run, such as '
                f'{osp.basename(earlier[-1])}. To continue it, use --resume. '
                'This training starts anew and replaces those of equal names.'
            )
        try:
            return super().train()
        except NotFiniteError as error:
            where = (
                f'the validation after iteration {self.iter}'
                if self.message_hub.get_info('loop_stage') == 'val'
                else f'iteration {self.iter + 1} (epoch {self.epoch + 1})'
            )
            raise DivergenceError(
                f'Training diverged in {where}: {str(error).rstrip(".")}. The '
                f'state before it is saved as {self._save_diverged()}. Check '
                'the samples, lower the learning rate or clip the gradients '
                '(optim_wrapper.clip_grad), and resume from this file or an '
                'earlier checkpoint.'
            ) from error

    def _save_diverged(self) -> str:
        """Save the state before the iteration that diverged."""
        rank = '' if is_main_process() else f'_rank{get_rank()}'
        name = f'diverged_iter_{self.iter}{rank}.pth'
        self._hooks = [
            hook
            for hook in self._hooks
            if not isinstance(hook, DivergenceHook)
        ]
        # Not only by the main process: it may not have diverged itself.
        Runner.save_checkpoint.__wrapped__(
            self,
            self.work_dir,
            name,
            meta=dict(epoch=self.epoch, iter=self.iter),
        )
        return osp.join(self.work_dir, name)


def _check_settings(wrapper: object) -> None:
    """Raise if an optimizer has the settings of another one.

    torch takes those of the checkpoint as they are.
    """
    if not isinstance(wrapper, OptimWrapper):
        return
    for group in wrapper.param_groups:
        missing = wrapper.optimizer.defaults.keys() - group.keys()
        if missing:
            raise ValueError(
                f'its optimizer has no {", ".join(sorted(missing))} of '
                f'{type(wrapper.optimizer).__name__}.'
            )


def _replace(
    type_: str | type, replacements: Mapping[str, type]
) -> str | type:
    """Return the replacement of a class of mmengine, or the class itself."""
    if isinstance(type_, type) and not type_.__module__.startswith('mmengine'):
        return type_
    return replacements.get(type_name(type_), type_)


def end_with_parent() -> None:
    """Let the kernel end this process if the launcher is killed.

    A launcher that is killed cannot end its processes, which would go on and
    occupy GPUs and ports. Linux only.
    """
    if sys.platform == 'linux':
        set_death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
