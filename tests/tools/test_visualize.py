# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import importlib.util
import sys
from pathlib import Path

import cv2
import pytest

ROOT = Path(__file__).resolve().parents[2]
ROUTES = ['matching.png', 'routes.html', 'routes.mp4', 'routes.png']


@pytest.fixture(scope='module')
def visualize():
    """Call the tool in this process: its exit status."""
    spec = importlib.util.spec_from_file_location(
        'visualize', ROOT / 'tools' / 'visualize.py'
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def call(*args):
        argv, sys.argv = sys.argv, ['visualize.py', *map(str, args)]
        try:
            with pytest.raises(SystemExit) as end:
                module.main()
        finally:
            sys.argv = argv
        return end.value.code

    return call


def names(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob('*.*'))


def num_frames(path):
    return int(cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT))


def test_video_alone(run, video_root, tmp_path):
    done = run('visualize.py', video_root / '0.mp4', '--out-dir', tmp_path)
    assert done.returncode == 0, done.stderr
    assert names(tmp_path / '0') == ROUTES
    assert done.stdout.split() == [
        str(tmp_path / '0' / name)
        for name in ('routes.png', 'matching.png', 'routes.mp4', 'routes.html')
    ]
    assert num_frames(tmp_path / '0' / 'routes.mp4') == 8


def test_options_of_the_alignment_without_a_model(
    visualize, video_root, tmp_path
):
    options = '--reference previous --support-radius 1 --min-similarity 0.5'
    out = '--out-dir', tmp_path
    assert visualize(video_root / '0.mp4', *options.split(), *out) == 0
    page = (tmp_path / '0' / 'routes.html').read_text()
    assert (
        'matched to the frame before it, support radius 1, matches up to '
        'similarity 0.5 are rejected'
    ) in page


def test_model(visualize, tiny_config, checkpoint, video_root, tmp_path):
    assert (
        visualize(
            video_root / '0.mp4',
            '--config',
            tiny_config,
            '--checkpoint',
            checkpoint,
            '--cam',
            '--block',
            1,
            '--patches',
            '0,1',
            '1,1',
            '--out-dir',
            tmp_path,
        )
        == 0
    )
    maps = ['class_activation', 'responses_block1', 'responses_final']
    files = [f'{name}.{suffix}' for name in maps for suffix in ('mp4', 'png')]
    assert names(tmp_path / '0') == sorted(ROUTES + files)
    assert num_frames(tmp_path / '0' / 'responses_final.mp4') == 4
    page = (tmp_path / '0' / 'routes.html').read_text()
    assert '"patches":[[0,1],[1,1]]' in page and '"block":1' in page


def test_several_models(
    visualize, tiny_config, checkpoint, video_root, tmp_path
):
    other = tiny_config.with_name('averaging.py')
    other.write_text(
        f"_base_ = '{tiny_config.name}'\nmodel = dict(backbone="
        "dict(temporal=dict(type='TemporalAveraging')))"
    )
    assert (
        visualize(
            video_root / '0.mp4',
            '--config',
            tiny_config,
            other,
            '--out-dir',
            tmp_path,
        )
        == 0
    )
    files = [f'tiny_untrained/{name}' for name in ROUTES]
    assert names(tmp_path / '0') == [
        'responses_final.mp4',
        'responses_final.png',
        *files,
    ]


def test_configs_of_one_name(visualize, tiny_config, video_root, tmp_path):
    other = tmp_path / tiny_config.name
    other.write_text(f"_base_ = '{tiny_config}'")
    assert (
        visualize(
            video_root / '0.mp4',
            '--config',
            tiny_config,
            other,
            '--out-dir',
            tmp_path,
        )
        == 0
    )
    folders = {name.split('/')[0] for name in names(tmp_path / '0')}
    assert {'tiny_0_untrained', 'tiny_1_untrained'} < folders


def test_batch_goes_on_and_says_what_failed(
    visualize, video_root, tmp_path, capfd
):
    (tmp_path / 'broken.mp4').write_bytes(
        (video_root / '0.mp4').read_bytes()[:2000]
    )
    assert (
        visualize(
            tmp_path / 'x.mp4',
            tmp_path / 'broken.mp4',
            video_root / '1.mp4',
            '--out-dir',
            tmp_path,
        )
        == 1
    )
    errors = capfd.readouterr().err
    assert f'{tmp_path}/x.mp4 does not exist' in errors
    assert f'{tmp_path}/broken.mp4 ' in errors
    assert '1 of 3 videos visualized' in errors
    assert names(tmp_path / '1') == ROUTES


@pytest.mark.parametrize(
    'options, message',
    [
        (['--patches', '0,99'], 'columns from 0 to 17, got (0, 99)'),
        (['--pair', '7'], 'from 0 to 6, of 8 frames, got 7'),
    ],
)
def test_patch_or_pair_outside_the_video(
    options, message, visualize, video_root, tmp_path, capfd
):
    assert (
        visualize(video_root / '0.mp4', *options, '--out-dir', tmp_path) == 1
    )
    assert message in capfd.readouterr().err
    assert not (tmp_path / '0').exists()


def test_block_out_of_range(
    visualize, tiny_config, video_root, tmp_path, capfd
):
    assert (
        visualize(
            video_root / '0.mp4',
            '--config',
            tiny_config,
            '--block',
            2,
            '--out-dir',
            tmp_path,
        )
        == 1
    )
    assert 'one of those that align, 0, 1, got 2' in capfd.readouterr().err


@pytest.mark.parametrize(
    'options, message',
    [
        (['--block', '1'], 'need a model'),
        (['--quality', '0'], '--quality in 1..100, got 0'),
        (['--min-similarity', '2'], 'from -1 to below 1, got 2.0'),
        (['--reference', '0'], 'a number of frames from 1, got 0'),
        (['--num-frames', '1'], '--num-frames of at least 2, got 1'),
        (['--config', 'x.py'], 'config x.py is not a file'),
        (
            ['--config', 'x.py', '--checkpoint', 'a', 'b'],
            'each of the 1 configs',
        ),
    ],
)
def test_invalid_options(options, message, visualize, video_root):
    error = visualize(video_root / '0.mp4', *options)
    assert message in error and '\n' not in error


def test_model_without_ata(visualize, tiny_config, video_root):
    error = visualize(
        video_root / '0.mp4',
        '--config',
        tiny_config,
        '--cfg-options',
        'model.backbone.temporal.type=TemporalAttention',
    )
    assert 'no temporal module of type ATA' in error and '\n' not in error


@pytest.mark.parametrize(
    'option, value, message',
    [
        ('--patches', '3', "expected ROW,COLUMN such as 3,5, got '3'"),
        ('--reference', 'last', "first-or-previous or a number, got 'last'"),
    ],
)
def test_malformed_options(option, value, message, visualize, capfd):
    assert visualize('a.mp4', option, value) == 2
    assert message in capfd.readouterr().err


def test_a_full_disk_leaves_no_half_of_a_file(run, video_root, tmp_path):
    done = run(
        'visualize.py',
        video_root / '0.mp4',
        '--out-dir',
        tmp_path,
        max_file=10_000,
    )
    assert done.returncode == 1 and not done.stdout
    assert f"'{tmp_path / '0' / 'routes.png'}'. Make room" in done.stderr
    assert not list(tmp_path.glob('*/*'))


def test_demo(run, tmp_path):
    done = run('visualize.py', '--demo', '--out-dir', tmp_path)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / 'roll_clockwise' / 'routes.html') in done.stdout


def test_options_without_a_model(visualize, video_root, tmp_path):
    words = [
        '--num-frames',
        '4',
        '--interval',
        '3',
        '--rows',
        '6',
        '--refine',
        '1',
    ]
    video = video_root / '0.mp4'
    assert visualize(video, *words, '--out-dir', tmp_path) == 0
    page = (tmp_path / '0' / 'routes.html').read_text()
    for text in ('"numbers":[5,8,11,14]', '"grid":[6,8]', 'refined 1 times'):
        assert text in page


def test_models_of_other_frames_are_not_compared(
    visualize, tiny_config, video_root, tmp_path, capfd
):
    other = tmp_path / 'other.py'
    other.write_text(f"""
_base_ = {str(tiny_config)!r}
test_pipeline = _base_.test_pipeline
test_pipeline[1].update(frame_interval=3)
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
""")
    words = '--config', tiny_config, other, '--out-dir', tmp_path
    assert visualize(video_root / '0.mp4', *words) == 1
    assert 'sample the same frames' in capfd.readouterr().err


def test_a_view_that_a_model_lacks_is_named(
    visualize, tiny_config, video_root, tmp_path, capfd
):
    words = '--config', tiny_config, '--view', 3, '--out-dir', tmp_path
    assert visualize(video_root / '0.mp4', *words) == 1
    assert 'a view from 0 to 2' in capfd.readouterr().err
