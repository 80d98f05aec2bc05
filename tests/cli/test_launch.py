# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import os
from argparse import Namespace

import pytest

from ata_mm.apis.config import load_config
from ata_mm.cli.launch import destroy_process_group, prepare, run
from ata_mm.compat import cpu_distributed


def threads() -> set:
    """The threads of this process, those of C++ too."""
    return set(os.listdir('/proc/self/task'))


@pytest.fixture
def one_of_one(monkeypatch):
    """The environment that a launcher gives to the process of a CPU run."""
    monkeypatch.setattr(cpu_distributed, 'get_device', lambda: 'cpu')
    # torch takes a free port in place of 0.
    address = dict(MASTER_ADDR='127.0.0.1', MASTER_PORT='0')
    for name, value in dict(
        RANK='0', LOCAL_RANK='0', WORLD_SIZE='1', **address
    ).items():
        monkeypatch.setenv(name, value)
    yield
    destroy_process_group()


@pytest.mark.usefixtures('one_of_one')
def test_no_thread_of_the_process_group_outlives_a_run(tiny_config, tmp_path):
    cfg = load_config(tiny_config)
    options = Namespace(
        work_dir=str(tmp_path), launcher='pytorch', local_rank=0
    )
    before, during = threads(), set()
    prepare(cfg, options, ['train', 'val'])

    def train(runner):
        during.update(threads() - before)
        runner.train()

    run(cfg, train)
    assert during and not during & threads()
