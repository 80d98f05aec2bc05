# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Hook that stops a training that has diverged."""

import torch
from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from ata_mm.ops.validation import NotFiniteError


@HOOKS.register_module()
class DivergenceHook(Hook):
    """Hook that stops a training whose values are NaN or infinite.

    Gradients are checked before each update, so that they do not reach the
    weights. In distributed training gradients are equal in all processes, and
    all of them stop. Losses are checked after each iteration, and parameters
    before they are saved; `FiniteScoresHook` checks validations.

    Raises:
        NotFiniteError: In the training loop. ``ResumableRunner`` saves the
            state before this iteration.
    """

    priority = 'HIGHEST'

    def __init__(self) -> None:
        self._handles: list[RemovableHandle] = []

    def before_train(self, runner: Runner) -> None:
        """Check the gradients before each update from now on."""
        wrapper = runner.optim_wrapper
        wrappers = (
            [wrapper]
            if isinstance(wrapper, OptimWrapper)
            else [one for _, one in wrapper.items()]
        )
        self._handles = [
            one.optimizer.register_step_pre_hook(_check_gradients)
            for one in wrappers
        ]

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Check the losses. RuntimeInfoHook, too, waits for their values."""
        for name, value in (outputs or {}).items():
            if 'loss' in name and not torch.as_tensor(value).isfinite().all():
                raise NotFiniteError(f'{name} is {_describe(value)}')

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check the parameters."""
        for name, parameter in runner.model.named_parameters():
            if not parameter.isfinite().all():
                raise NotFiniteError(f'parameter {name} is NaN or infinite')

    def after_train(self, runner: Runner) -> None:
        """Stop checking the gradients."""
        for handle in self._handles:
            handle.remove()


def _check_gradients(optimizer: Optimizer, *_: object) -> None:
    # A fused optimizer is called by the gradient scaler of mixed precision
    # also for a step that it skips, with too large a scale.
    if getattr(optimizer, 'found_inf', None):
        return
    gradients = [
        parameter.grad
        for group in optimizer.param_groups
        for parameter in group['params']
        if parameter.grad is not None
    ]
    # One pass over all gradients. The square of a finite one may overflow.
    if get_total_norm(gradients).isfinite():
        return
    bad = sum(not one.isfinite().all() for one in gradients)
    if bad:
        raise NotFiniteError(
            f'gradients of {bad} of {len(gradients)} parameters are NaN or '
            'infinite'
        )


def _describe(value: object) -> str:
    values = torch.as_tensor(value)
    return str(values.item()) if values.numel() == 1 else 'NaN or infinite'
