# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Hook that causes a fault in a run at a given moment."""

import os
import signal
from pathlib import Path

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner
from tool_process import limit_files


def kill(runner: Runner) -> None:
    """End this process without notice, as ``kill -9`` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def fill_disk(runner: Runner) -> None:
    """Let files of more than 100 KB fail, as on a full disk."""
    limit_files(100_000)


def diverge(runner: Runner) -> None:
    """Let the scores of the model be NaN from now on."""
    runner.model.cls_head.register_forward_hook(
        lambda module, inputs, scores: scores * float('nan')
    )


@HOOKS.register_module()
class FaultHook(Hook):
    """Hook that causes a fault, once in a work directory.

    Args:
        fault (str): 'kill', 'fill_disk' or 'diverge'.
        when (str): A method of hooks, such as 'before_train_iter'; 'fsync'
            for the moment when a file is written, but not yet in place.
        iter (int): Number of iterations done at that moment.
        rank (int, optional): Process of the fault. Defaults to None, all.
    """

    def __init__(
        self,
        fault: str = 'kill',
        when: str = 'never',
        iter: int = 0,
        rank: int | None = None,
    ) -> None:
        self._fault = globals()[fault]
        self._iter = iter
        self._rank = rank
        self._marker = f'{fault}_{when}_{iter}'
        if when == 'fsync':
            self.before_run = self._watch_fsync
        else:
            setattr(self, when, self._act)

    def _act(self, runner: Runner, **_: object) -> None:
        if runner.iter != self._iter or self._rank not in (None, runner.rank):
            return
        marker = Path(runner.work_dir, self._marker)
        if not marker.exists():
            marker.touch()
            self._fault(runner)

    def _watch_fsync(self, runner: Runner) -> None:
        fsync = os.fsync

        def act_and_sync(descriptor: int) -> None:
            self._act(runner)
            fsync(descriptor)

        os.fsync = act_and_sync
