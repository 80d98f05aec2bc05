# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Early stopping hook whose patience survives an interruption."""

from mmaction.registry import HOOKS
from mmengine.hooks import EarlyStoppingHook
from mmengine.runner import Runner


@HOOKS.register_module()
class ResumableEarlyStoppingHook(EarlyStoppingHook):
    """Early stopping hook that records its state in every checkpoint.

    The state is in mmengine's MessageHub: the best score, for how many
    validations it has not improved, and the decision.

    Args:
        See :class:`mmengine.hooks.EarlyStoppingHook`.
    """

    # Before the checkpoint that is saved after a validation.
    priority = 'LOW'

    def before_train(self, runner: Runner) -> None:
        """Restore the state of the checkpoint, if resumed."""
        state = runner.message_hub.get_info(self._key)
        if state is not None:
            self.best_score = state['best_score']
            self.wait_count = state['wait_count']
            runner.train_loop.stop_training = state['stop']

    def after_val_epoch(self, runner: Runner, metrics: dict) -> None:
        """Decide whether to stop, and record the state."""
        super().after_val_epoch(runner, metrics)
        state = dict(
            best_score=self.best_score,
            wait_count=self.wait_count,
            stop=runner.train_loop.stop_training,
        )
        runner.message_hub.update_info(self._key, state)

    @property
    def _key(self) -> str:
        return f'early_stopping_{self.monitor}'
