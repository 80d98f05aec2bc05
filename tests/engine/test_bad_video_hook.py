# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""The runs themselves are tested in tests/tools/test_train.py."""

import pytest

from ata_mm.engine import BadVideoHook
from ata_mm.engine.bad_video_hook import _leaves


class Data:
    """A data set, or a wrapper of others."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)


@pytest.mark.parametrize('options', [dict(limit=2), dict(time_limit=0)])
def test_options_out_of_range(options):
    with pytest.raises(ValueError, match='a limit in 0..1 and a positive'):
        BadVideoHook(**options)


def test_wrapped_data_sets_are_found():
    first, second = Data(pipeline=1), Data(pipeline=2)
    wrapped = Data(datasets=[Data(dataset=first, pipeline=3), second])
    assert list(_leaves(wrapped)) == [first, second]
