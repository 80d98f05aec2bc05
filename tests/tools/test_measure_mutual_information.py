# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import json

import pytest


@pytest.fixture(scope='module')
def done(run, tiny_config, checkpoint, tmp_path_factory):
    """Run the tool on three of the four test videos, and read its JSON."""
    path = tmp_path_factory.mktemp('information') / 'out.json'
    done = run(
        'measure_mutual_information.py',
        tiny_config,
        checkpoint,
        '--max-videos',
        3,
        '--blocks',
        1,
        '--temperature',
        0.2,
        '--out',
        path,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(path.read_text())


def test_table_and_json_agree(done):
    table, result = done
    names = [
        name + control
        for control in ('', '_unrelated')
        for name in ('all_pairs', 'in_place', 'aligned')
    ]
    values = [result['means'][f'block1/after/{name}'] for name in names]
    cells = ' | '.join(f'{value:.3f}' for value in (1.386, *values))
    assert f'| block1, after | 4 | {cells} |' in table.splitlines()


def test_the_points_of_table_4_are_the_first_and_last_rows(done):
    _, _, first, *_, last = done[0].split('\n\n')[1].splitlines()
    assert first.startswith('| embedding |')
    assert last.startswith('| final |')


def test_number_of_videos_and_temperature_are_printed(done):
    table, result = done
    assert table.startswith('3 videos, temperature 0.2, nats\n')
    assert (result['videos'], result['temperature']) == (3, 0.2)


def test_routes_have_more_information_than_patches_in_place(done):
    means = done[1]['means']
    assert means['block1/before/aligned'] > means['block1/before/in_place']


def test_a_single_video_has_no_control(run, tiny_config, checkpoint):
    done = run(
        'measure_mutual_information.py',
        tiny_config,
        checkpoint,
        '--max-videos',
        1,
    )
    assert done.returncode == 0 and 'unrelated' not in done.stdout
    assert 'warning: no control' in done.stderr


def test_an_unknown_block_is_one_line(run, tiny_config, checkpoint):
    done = run(
        'measure_mutual_information.py', tiny_config, checkpoint, '--blocks', 7
    )
    assert done.returncode == 1
    assert 'indices from 0 to 1, got [7]' in done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.parametrize('value', ['0', 'inf', 'nan'])
def test_a_temperature_is_finite(run, tiny_config, checkpoint, value):
    done = run(
        'measure_mutual_information.py',
        tiny_config,
        checkpoint,
        '--temperature',
        value,
    )
    assert done.returncode == 2
    assert f'got {float(value)}.' in done.stderr
