# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Class-balanced sampling of MMAction2's data sets.

mmengine's ``ClassBalancedDataset`` asks a data set for the classes of a sample
by ``get_cat_ids``, which MMAction2's data sets do not implement.

Upstream: no known report; mmengine documents the method:
https://mmengine.readthedocs.io/en/latest/advanced_tutorials/basedataset.html
"""

from typing import Any

from mmengine.dataset import BaseDataset


def get_cat_ids(self: Any, idx: int) -> list[int]:
    """Return the classes of a sample.

    Args:
        self (BaseActionDataset): The data set.
        idx (int): Index of the sample.

    Returns:
        list[int]: One class, or those of a multi-label data set.
    """
    # BaseActionDataset turns several labels into a vector.
    label = BaseDataset.get_data_info(self, idx)['label']
    return list(label) if isinstance(label, (list, tuple)) else [label]


def needed() -> bool:
    """Return whether MMAction2's data sets lack the method."""
    # Imported late: mmaction.datasets needs other shims first.
    from mmaction.datasets import BaseActionDataset

    return BaseActionDataset.get_cat_ids is BaseDataset.get_cat_ids


def apply() -> None:
    """Add the method."""
    from mmaction.datasets import BaseActionDataset

    if needed():
        BaseActionDataset.get_cat_ids = get_cat_ids
