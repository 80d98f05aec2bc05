# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""No damaged file ends a run over many files."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / 'video'))
from made import make_video

pytestmark = pytest.mark.slow

MUTANTS = 60  # of each file
SOURCES = {
    'a.mp4': {},
    'b.mov': dict(codec='mpeg4'),
    'c.avi': dict(codec='mpeg4'),
    'd.mkv': {},
    'e.webm': dict(codec='libvpx-vp9', options=dict(deadline='realtime')),
}


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Damage a file: at its start, anywhere, in a block, or at its end."""
    damaged = bytearray(data)
    kind = rng.integers(4)
    if kind == 0:  # the header
        for place in rng.integers(min(len(data), 600), size=4):
            damaged[place] = rng.integers(256)
    elif kind == 1:
        for place in rng.integers(len(data), size=rng.integers(1, 30)):
            damaged[place] = rng.choice([0, 255, rng.integers(256)])
    elif kind == 2:
        start = rng.integers(len(data))
        length = rng.integers(1, 2000)
        damaged[start : start + length] = rng.bytes(rng.integers(2000))
    else:
        del damaged[rng.integers(len(data)) :]
    return bytes(damaged)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder of mutants and one good file, the last, and their list."""
    root = tmp_path_factory.mktemp('fuzz')
    (root / 'videos').mkdir()
    rng = np.random.default_rng(0)
    for name, options in SOURCES.items():
        data = make_video(root / name, **options).read_bytes()
        for number in range(MUTANTS):
            path = root / 'videos' / f'{name[0]}{number:03d}{name[1:]}'
            path.write_bytes(mutate(data, rng))
    make_video(root / 'videos' / 'z.mp4')
    names = sorted(path.name for path in (root / 'videos').iterdir())
    (root / 'list.txt').write_text(''.join(f'{n} 0\n' for n in names))
    return root


def check(done, names):
    """Check that a run ended by itself and says something of each file."""
    assert done.returncode in (0, 1), done.stderr[-2000:]
    assert 'Traceback' not in done.stderr
    assert not [n for n in names if n not in done.stdout + done.stderr]


def test_predict(run, tiny_config, checkpoint, folder):
    model = '--config', tiny_config, '--checkpoint', checkpoint
    done = run('predict.py', folder / 'videos', *model)
    check(done, [path.name for path in (folder / 'videos').iterdir()])
    assert 'z.mp4' in done.stdout


def test_visualize(run, folder, tmp_path):
    """A tenth of the files: the figures take most of the time."""
    videos = folder / 'videos' / '*5.*', folder / 'videos' / 'z.mp4'
    done = run('visualize.py', *videos, '--out-dir', tmp_path, '--rows', 4)
    check(done, ['z/routes.html'])
    assert (tmp_path / 'z' / 'routes.html').exists()


def test_check_dataset(run, tiny_config, folder):
    done = run(
        'check_dataset.py',
        tiny_config,
        '--limit',
        1000,
        '--workers',
        2,
        '--cfg-options',
        f'test_dataloader.dataset.ann_file={folder}/list.txt',
        f'test_dataloader.dataset.data_prefix.video={folder}/videos',
    )
    check(done, [])
    assert done.returncode == 1 and 'z.mp4' not in done.stderr
