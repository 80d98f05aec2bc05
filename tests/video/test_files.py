# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import glob
import os

import cv2
import numpy as np
import pytest

from ata_mm.video import VideoError, check_video_file, find_videos


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


@pytest.mark.parametrize(
    'pattern, files',
    [
        ('*.mp4', ['b.mp4']),
        ('**/*.webm', ['deep/c.webm']),
        ('*e*', ['notes.txt']),
    ],
)
def test_pattern_stands_for_files(folder, pattern, files):
    assert found(folder, pattern) == files


@pytest.mark.parametrize('name', ['b.mp4', 'not there.mp4'])
def test_file_stands_for_itself(folder, name):
    assert found(folder, name) == [name]


def test_file_may_be_named_like_a_pattern(folder):
    (folder / 'clip[1].mp4').touch()
    assert found(folder, 'clip[1].mp4') == ['clip[1].mp4']


@pytest.mark.parametrize('name', ['', '**/*.*', '**/*.mp4', '**'])
def test_hidden_files_are_left_out(folder, name):
    (folder / '._b.mp4').touch()  # of macOS
    (folder / '.cache').mkdir()
    (folder / '.cache' / 'd.mp4').touch()
    videos = found(folder, name)
    assert 'b.mp4' in videos and not any('d.mp4' in v for v in videos)
    assert '._b.mp4' not in videos


@pytest.mark.parametrize('name', ['', '**/*.webm'])
def test_links_to_folders_are_followed(folder, name, tmp_path_factory):
    other = tmp_path_factory.mktemp('other')
    (other / 'd.webm').touch()
    (folder / 'linked').symlink_to(other)
    videos = found(folder, name)
    assert [v for v in videos if v.endswith('.webm')] == [
        'deep/c.webm',
        'linked/d.webm',
    ]


@pytest.mark.parametrize('name', ['', '**/*.webm', 'deep/**/**/*.webm'])
def test_loops_of_links_end(folder, name):
    """Two of them keep glob busy for ever."""
    for link in ('again', 'and again'):
        (folder / 'deep' / link).symlink_to(folder / 'deep')
    videos = found(folder, name)
    assert [v for v in videos if v.endswith('.webm')] == ['deep/c.webm']


def test_a_folder_may_be_named_by_a_loop(folder):
    (folder / 'deep' / 'again').symlink_to(folder / 'deep')
    assert found(folder, 'deep/again') == ['deep/again/c.webm']


def test_a_folder_is_searched_under_its_own_name(folder):
    (folder / 'a link').symlink_to(folder / 'deep')
    assert found(folder, '') == ['a.AVI', 'b.mp4', 'deep/c.webm']


@pytest.mark.parametrize(
    'pattern', ['**/*.webm', './**/*.webm', 'd*/**/c.webm', '**/deep/*']
)
def test_recursive_patterns_match_as_by_glob(folder, pattern, monkeypatch):
    monkeypatch.chdir(folder)
    assert find_videos(pattern) == glob.glob(pattern, recursive=True)


def test_a_pattern_may_name_what_is_hidden(folder):
    (folder / 'deep' / '.cache').mkdir()
    (folder / 'deep' / '.cache' / 'd.mp4').touch()
    assert found(folder, '**/.cache/*.mp4') == ['deep/.cache/d.mp4']


def test_folder_without_videos(tmp_path):
    with pytest.raises(ValueError, match=f'folder {tmp_path} has no video'):
        find_videos(str(tmp_path))


def test_pattern_without_matches(tmp_path):
    (tmp_path / 'folder.mp4').mkdir()
    with pytest.raises(FileNotFoundError, match=r'no file matches .*\*.mp4'):
        find_videos(f'{tmp_path}/*.mp4')


@pytest.mark.parametrize('name, size', [('cut.avi', 60), ('cut.AVI', 99)])
def test_avi_that_was_cut_off(tmp_path, name, size):
    header = b'RIFF' + (100 - 8).to_bytes(4, 'little') + b'AVI '
    (tmp_path / name).write_bytes(header.ljust(size, b'.'))
    with pytest.raises(ValueError, match=f'it has {size} of the 100 bytes'):
        check_video_file(str(tmp_path / name))


@pytest.mark.parametrize('length', [100 - 8, 2**32 - 1, 0])
def test_avi_that_is_whole_or_was_streamed(tmp_path, length):
    header = b'RIFF' + length.to_bytes(4, 'little') + b'AVI '
    (tmp_path / 'a.avi').write_bytes(header.ljust(100, b'.'))
    check_video_file(str(tmp_path / 'a.avi'))


def test_pipe_is_not_read(tmp_path):
    os.mkfifo(tmp_path / 'pipe.mp4')
    with pytest.raises(VideoError, match='is a pipe or a device'):
        check_video_file(str(tmp_path / 'pipe.mp4'))


def test_name_that_is_not_utf8(tmp_path):
    name = os.fsdecode(bytes(tmp_path) + b'/caf\xe9.mp4')
    with open(name, 'wb') as file:
        file.write(b'content')
    check_video_file(name)  # OpenCV would crash


@pytest.mark.parametrize(
    'name, error, reason',
    [
        ('lost.mp4', FileNotFoundError, 'does not exist'),
        ('', ValueError, 'is a directory'),
        ('empty.mp4', ValueError, 'is empty'),
        ('frame.png', ValueError, 'is an image'),
    ],
)
def test_file_that_is_not_a_video(tmp_path, name, error, reason):
    (tmp_path / 'empty.mp4').touch()
    cv2.imwrite(str(tmp_path / 'frame.png'), np.zeros((8, 8), np.uint8))
    with pytest.raises(error, match=f'{tmp_path / name} {reason}'):
        check_video_file(str(tmp_path / name))


def test_a_folder_named_like_a_video_is_none(tmp_path):
    (tmp_path / 'x.mp4').mkdir()
    (tmp_path / 'x.mp4' / 'y.mp4').touch()
    assert find_videos(str(tmp_path)) == [str(tmp_path / 'x.mp4' / 'y.mp4')]


def test_a_folder_that_cannot_be_read_is_named(folder, monkeypatch):
    def scandir(path):
        if str(path).endswith('deep'):
            raise PermissionError(13, 'Permission denied', str(path))
        return whole(path)

    whole = os.scandir
    monkeypatch.setattr(os, 'scandir', scandir)
    with pytest.raises(PermissionError, match='deep'):
        find_videos(str(folder))
