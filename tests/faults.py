# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Hook that causes a fault in a run at a given moment."""

import os
import signal
from pathlib import Path
from typing import Optional

from mmaction.registry import HOOKS
from mmengine.hooks import Hook


@HOOKS.register_module()
class KillHook(Hook):
    """Hook that kills its process without notice, as ``kill -9`` does.

    Once in a work directory: a run that is resumed goes on.

    Args:
        when (str): A method of hooks, such as 'before_train_iter'; 'fsync'
            for the moment when a file is written, but not yet in place.
        iter (int): Number of iterations done at that moment.
        rank (int, optional): Process to kill. Defaults to None, all.
    """

    def __init__(
        self, when: str, iter: int, rank: Optional[int] = None
    ) -> None:
        self._iter = iter
        self._rank = rank
        self._marker = f'killed_{when}_{iter}'
        if when == 'fsync':
            self.before_run = self._watch_fsync
        else:
            setattr(self, when, self._kill)

    def _kill(self, runner, **_) -> None:
        if runner.iter != self._iter or self._rank not in (None, runner.rank):
            return
        marker = Path(runner.work_dir, self._marker)
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def _watch_fsync(self, runner) -> None:
        fsync = os.fsync

        def kill_or_sync(descriptor: int) -> None:
            self._kill(runner)
            fsync(descriptor)

        os.fsync = kill_or_sync
