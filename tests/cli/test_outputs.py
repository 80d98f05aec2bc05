# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import csv
import json
import os

import pytest

from ata_mm.apis.stream import WindowPrediction
from ata_mm.cli.outputs import (
    Clock,
    WindowFiles,
    csv_cell,
    json_line,
    keep_outputs,
    unique_stems,
    window_entry,
)

PREDICTION = WindowPrediction(5, 14, [('pan, left', 0.75), ('Größe', 0.25)])


@pytest.fixture
def files(tmp_path):
    with WindowFiles(str(tmp_path / 'out')) as files:
        files.write(window_entry(PREDICTION, (0.5, 1.5)))
        yield tmp_path / 'out'  # readable while it is being written


@pytest.fixture
def clock():
    """A clock of ten frames per second after twenty frames."""
    clock = Clock(fps=10)
    for _ in range(20):
        clock.tick()
    return clock


def test_window_lasts_to_the_end_of_its_last_frame(clock):
    assert clock.span(PREDICTION) == (0.5, 1.5)


def test_times_of_frames_replace_the_rate():
    clock = Clock(fps=10)
    for number in range(20):
        clock.tick((number**2, (number + 1) ** 2))
    assert clock.span(PREDICTION) == (25, 225)


def test_earlier_frames_are_forgotten(clock):
    clock.span(PREDICTION)
    with pytest.raises(KeyError):
        clock.span(PREDICTION._replace(first=4))


def test_lines_of_json(files):
    entry = json.loads((files / 'predictions.jsonl').read_text('utf-8'))
    assert entry == dict(
        start=0.5, end=1.5, labels=['pan, left', 'Größe'], scores=[0.75, 0.25]
    )


def test_table(files):
    with open(files / 'predictions.csv', encoding='utf-8', newline='') as file:
        (row,) = csv.DictReader(file)
    assert list(row) == [
        'start',
        'end',
        'label_1',
        'score_1',
        'label_2',
        'score_2',
    ]
    assert row['label_1'] == 'pan, left' and float(row['score_2']) == 0.25


@pytest.mark.parametrize('text', ['=1+1', '+1', '-1', '@SUM(A1)', '\t=1'])
def test_a_label_is_no_formula_in_a_spreadsheet(tmp_path, text):
    prediction = WindowPrediction(0, 1, [(text, 1.0)])
    with WindowFiles(str(tmp_path)) as files:
        files.write(window_entry(prediction, (0.0, 0.1)))
    with open(tmp_path / 'predictions.csv', newline='') as file:
        (row,) = csv.DictReader(file)
    assert row['label_1'] == f"'{text}"


def test_other_labels_are_as_they_are():
    assert csv_cell('pan left = 1') == 'pan left = 1'


@pytest.mark.parametrize('score', [float('nan'), float('inf')])
def test_what_json_does_not_have_is_an_error(score):
    with pytest.raises(ValueError, match='not JSON compliant'):
        json_line(dict(scores=[score]))


def test_names_that_are_not_utf8_are_valid_json():
    name = b'caf\xe9.mp4'.decode('utf-8', 'surrogateescape')
    line = json_line(dict(video=name))
    assert json.loads(line.encode('utf-8').decode('utf-8'))['video'] == name


def test_videos_of_one_name_have_outputs_of_their_own():
    names = unique_stems(['a/x.mp4', 'b/x.mp4', 'x.avi', 'x_2.mp4'])
    assert list(names.values()) == ['x', 'x_2', 'x_3', 'x_2_2']


def test_names_of_outputs_are_utf8():
    names = unique_stems([os.fsdecode(b'caf\xe9.mp4')])
    assert list(names.values()) == ['caf\\udce9']


def test_many_videos_of_one_name():
    names = unique_stems([f'{n}/video.mp4' for n in range(20_000)])
    assert len(set(names.values())) == 20_000


def test_outputs_of_earlier_runs_are_kept(tmp_path):
    names = 'a.jsonl', 'b.mp4', 'c.csv'
    for run in range(3):
        kept = keep_outputs(str(tmp_path), names)
        (tmp_path / 'a.jsonl').write_text(str(run))
        (tmp_path / 'b.mp4').touch()
    assert kept == [str(tmp_path / 'a_2.jsonl')]
    texts = {p.name: p.read_text() for p in tmp_path.glob('*.jsonl')}
    assert texts == {'a.jsonl': '2', 'a_1.jsonl': '0', 'a_2.jsonl': '1'}


def test_a_full_disk_leaves_whole_lines(tmp_path, full_disk):
    entry = window_entry(WindowPrediction(0, 1, [('pan', 1.0)]), (0.0, 0.1))
    line = len(json_line(entry)) + 1
    with WindowFiles(str(tmp_path)) as files:
        files.write(entry)
        with full_disk(line + 10), pytest.raises(OSError) as caught:
            files.write(entry)
    path = tmp_path / 'predictions.jsonl'
    assert caught.value.filename == str(path)
    assert path.stat().st_size == line
