# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Files of results that cannot be written are refused before any work."""

import runpy
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
# These files do not exist: reading them would be another error.
OPTIONS = {
    'measure_mutual_information.py': ['no.py', 'no.pth', '--out'],
    'measure_routes.py': ['no.py', 'no.pth', '--out'],
    'export.py': ['no.py', 'no.pth', '--format=torch', '--out'],
    'study.py': ['no.py', '--plot'],
    'benchmark_routes.py': ['--out'],
    'benchmark_matching.py': ['no.mp4', '--plot'],
}


@pytest.mark.parametrize('tool', OPTIONS)
def test_file_in_no_folder_is_refused(tool, tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    words = [tool, *OPTIONS[tool], str(tmp_path / 'file' / 'out.pkl')]
    monkeypatch.setattr(sys, 'argv', words)
    with pytest.raises(SystemExit, match='file cannot be created'):
        runpy.run_path(str(TOOLS / tool), run_name='__main__')


@pytest.mark.parametrize(
    'tool', ['study.py', 'benchmark_routes.py', 'benchmark_matching.py']
)
def test_unknown_format_of_a_plot_is_refused(tool, tmp_path, monkeypatch):
    words = [tool, *OPTIONS[tool][:-1], '--plot', str(tmp_path / 'plot.xyz')]
    monkeypatch.setattr(sys, 'argv', words)
    with pytest.raises(SystemExit, match='png.* got .*plot.xyz'):
        runpy.run_path(str(TOOLS / tool), run_name='__main__')
