# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Checkpoint hook that removes no checkpoint before the next one is whole."""

import glob
import os
import os.path as osp
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmaction.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.fileio import BaseStorageBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from ata_mm.compat.atomic_local_backend import PART


@HOOKS.register_module()
class ResumableCheckpointHook(CheckpointHook):
    """Checkpoint hook for runs that may be killed at any time.

    Other than mmengine's, it removes an old checkpoint only after the new one
    has been saved, saves the state after every validation, so that a resumed
    run does not repeat it, accepts a work directory that was moved, and
    refuses unknown options.

    Args:
        See :class:`mmengine.hooks.CheckpointHook`.

    Raises:
        ValueError: If an option is unknown.
    """

    file_backend: Any
    _step: int | None = None
    _saves = 0

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        # They would fail when the first checkpoint is saved. Our tools name
        # them before, see apis.config_keys; MMAction2's do not.
        if self.args:
            raise ValueError(
                'Expected options of CheckpointHook, got '
                f'{", ".join(self.args)}.'
            )

    def before_train(self, runner: Runner) -> None:
        """Prepare the folder of the checkpoints, which may have moved."""
        super().before_train(runner)
        if is_main_process():
            self._remove_parts()
        hub = runner.message_hub
        for key in list(hub.runtime_info):
            if key.startswith(('best_ckpt', 'last_ckpt')):
                hub.update_info(key, self._here(hub.get_info(key)))
        # Read anew: the paths of the checkpoint are those of its own run.
        if self.save_best and len(self.key_indicators) == 1:
            self.best_ckpt_path = hub.get_info('best_ckpt')
        elif self.save_best:
            for name in self.key_indicators:
                self.best_ckpt_path_dict[name] = hub.get_info(
                    f'best_ckpt_{name}'
                )
        step = runner.epoch if self.by_epoch else runner.iter
        resumed = self._here(self.filename_tmpl.format(step))
        if hub.get_info('last_ckpt') == resumed:
            self.last_ckpt, self._step = resumed, step

    def after_val_epoch(self, runner: Runner, metrics: dict) -> None:
        """Save the best checkpoint, and the state after the validation."""
        saves = self._saves
        super().after_val_epoch(runner, metrics)
        step = runner.epoch if self.by_epoch else runner.iter
        if self._step == step and self._saves == saves:
            meta = dict(epoch=runner.epoch, iter=runner.iter)
            self._save_checkpoint_with_step(runner, step, meta)

    def _save_checkpoint_with_step(
        self, runner: Runner, step: int, meta: dict
    ) -> None:
        with self._remove_afterwards():
            super()._save_checkpoint_with_step(runner, step, meta)
        self._step = step
        self._saves += 1

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        with self._remove_afterwards():
            super()._save_best_checkpoint(runner, metrics)

    @contextmanager
    def _remove_afterwards(self) -> Iterator[None]:
        """Remove files at the end of the context, and none after an error."""
        backend = self.file_backend
        self.file_backend = deferred = _DeferredRemoval(backend)
        try:
            yield
        finally:
            self.file_backend = backend
        for path in deferred.removed:
            if path not in self._current():
                backend.remove(path)

    def _remove_parts(self) -> None:
        """Remove what processes left that were killed while saving."""
        folder = glob.escape(self.out_dir)
        suffix = osp.splitext(self.filename_tmpl)[1]
        for path in glob.glob(osp.join(folder, f'*{suffix}.*{PART}')):
            os.remove(path)

    def _here(self, path: str) -> str:
        return self.file_backend.join_path(self.out_dir, osp.basename(path))

    def _current(self) -> list[str | None]:
        """Return the checkpoints that have just been saved."""
        if not self.save_best:
            return [self.last_ckpt]
        if len(self.key_indicators) == 1:
            return [self.last_ckpt, self.best_ckpt_path]
        return [self.last_ckpt, *self.best_ckpt_path_dict.values()]


class _DeferredRemoval:
    """A file backend that only notes which files to remove."""

    def __init__(self, backend: BaseStorageBackend) -> None:
        self.removed: list[str] = []
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        """Note a file."""
        self.removed.append(path)
