# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest

from ata_mm.apis.video_files import find_videos


@pytest.fixture
def folder(tmp_path):
    """b.mp4, a.AVI, notes.txt and deep/c.webm."""
    (tmp_path / 'deep').mkdir()
    for name in ('b.mp4', 'a.AVI', 'notes.txt', 'deep/c.webm'):
        (tmp_path / name).touch()
    return tmp_path


def found(folder, name):
    prefix = len(str(folder)) + 1
    return [video[prefix:] for video in find_videos(f'{folder}/{name}')]


def test_folder_stands_for_its_videos(folder):
    assert found(folder, '') == ['a.AVI', 'b.mp4', 'deep/c.webm']


@pytest.mark.parametrize('pattern, files', [
    ('*.mp4', ['b.mp4']),
    ('**/*.webm', ['deep/c.webm']),
    ('*e*', ['notes.txt']),
])
def test_pattern_stands_for_files(folder, pattern, files):
    assert found(folder, pattern) == files


@pytest.mark.parametrize('name', ['b.mp4', 'not there.mp4'])
def test_file_stands_for_itself(folder, name):
    assert found(folder, name) == [name]


def test_file_may_be_named_like_a_pattern(folder):
    (folder / 'clip[1].mp4').touch()
    assert found(folder, 'clip[1].mp4') == ['clip[1].mp4']


def test_folder_without_videos(tmp_path):
    with pytest.raises(ValueError, match=f'folder {tmp_path} has no video'):
        find_videos(str(tmp_path))


def test_pattern_without_matches(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no file matches .*\*.mp4'):
        find_videos(f'{tmp_path}/*.mp4')
