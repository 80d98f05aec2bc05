# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
from mmengine.registry import DefaultScope, init_default_scope


@pytest.fixture(autouse=True)
def mmaction_scope():
    """MMAction2's own models find their parts in this scope only."""
    before = DefaultScope.get_current_instance()
    init_default_scope('mmaction')
    yield
    if before is not None:
        init_default_scope(before.scope_name)
