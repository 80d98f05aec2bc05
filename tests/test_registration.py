# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import os
import subprocess
import sys
from pathlib import Path

from ata_mm import datasets, engine, evaluation, models  # noqa: F401

import pytest
from mmaction import registry as registries
from mmengine.registry import Registry

from ata_mm.registration import _LOCATIONS

ROOT = Path(__file__).resolve().parents[1]
ALL = {k: v for k, v in vars(registries).items() if isinstance(v, Registry)}


def python(code):
    """Return what code prints in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, '-c', code],
        env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize('name', ALL)
def test_a_registry_imports_every_component_of_ours(name):
    ours = [c.__module__ for c in ALL[name].module_dict.values()]
    ours = [module for module in ours if module.startswith('ata_mm.')]
    assert bool(ours) == (name in _LOCATIONS)
    for module in ours:
        assert module.startswith(_LOCATIONS[name])


def test_the_first_look_up_finds_a_component():
    code = """
import sys, ata_mm
from mmaction.registry import HOOKS
assert 'ata_mm.checkpoints' not in sys.modules
print(HOOKS.get('AdaptCheckpointHook').__name__)"""
    assert python(code) == 'AdaptCheckpointHook'


def test_a_registry_in_use_finds_a_component():
    code = """
from mmaction.registry import METRICS
METRICS.get('AccMetric')
import ata_mm
print(METRICS.get('AccuracyBySpeed').__name__)"""
    assert python(code) == 'AccuracyBySpeed'


def test_matchers_of_studies_are_found_without_their_import():
    built = python(
        'from ata_mm.registry import MATCHERS; '
        "print(MATCHERS.build('RandomMatcher'))"
    )
    assert built.endswith('RandomMatcher()')
