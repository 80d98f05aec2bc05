# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Functions of a data loader in a config inherited by ``mmaction::…``.

mmengine notes the scope of an inherited config in every part with a type, as
``_scope_``, and passes it to ``collate_fn`` and ``worker_init_fn`` as an
argument. MMAction2's recipes of MViT, whose ``collate_fn`` repeats samples,
fail at their first batch.

Upstream: no known report.
"""

from functools import wraps

from mmengine.runner.runner import Runner
from torch.utils.data import DataLoader

_mmengine_build_dataloader = Runner.build_dataloader


@wraps(_mmengine_build_dataloader)
def build_dataloader(
    dataloader: DataLoader | dict,
    seed: int | None = None,
    diff_rank_seed: bool = False,
) -> DataLoader:
    """Build a loader as mmengine, without scopes among the arguments."""
    if isinstance(dataloader, dict):
        functions = {
            key: {k: v for k, v in part.items() if k != '_scope_'}
            for key, part in dataloader.items()
            if key in ('collate_fn', 'worker_init_fn')
            and isinstance(part, dict)
        }
        dataloader = {**dataloader, **functions}
    return _mmengine_build_dataloader(dataloader, seed, diff_rank_seed)


def needed() -> bool:
    """Return whether mmengine's runner builds the loaders."""
    return Runner.build_dataloader is _mmengine_build_dataloader


def apply() -> None:
    """Make `Runner` build loaders without scopes among the arguments."""
    if needed():
        Runner.build_dataloader = staticmethod(build_dataloader)
