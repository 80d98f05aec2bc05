# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""The quick start itself runs in .ci/run; its study is tested in tests/cli."""

import importlib
from pathlib import Path

from ata_mm.cli.study import load_study

ROOT = Path(__file__).resolve().parents[2]


def test_shown_model_is_an_arm_of_the_study(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / 'tools')
    monkeypatch.chdir(ROOT)  # configs are named relative to it
    tool = importlib.import_module('quickstart')
    study = load_study(tool.STUDY, tmp_path, smoke=True)
    assert tool.SHOWN in [arm.name for arm in study.arms]
