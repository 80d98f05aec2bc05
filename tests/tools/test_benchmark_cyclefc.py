# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import importlib.util

import pytest

HAS_TORCHVISION = importlib.util.find_spec('torchvision') is not None


@pytest.mark.skipif(not HAS_TORCHVISION, reason='compares with torchvision')
def test_prints_a_table_for_each_stage(run):
    done = run('benchmark_cyclefc.py', '--batch', 1, '--rounds', 1, '--train')
    assert done.returncode == 0, done.stderr
    assert 'forward and backward' in done.stdout
    assert done.stdout.count('| CycleFC |') == 4


@pytest.mark.skipif(HAS_TORCHVISION, reason='torchvision is installed')
def test_names_the_missing_torchvision(run):
    done = run('benchmark_cyclefc.py')
    assert done.returncode == 1
    assert 'pip install torchvision' in done.stderr
    assert 'Traceback' not in done.stderr
