# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import cv2
import numpy as np
import pytest

from ata_mm.datasets.annotation_file import AnnotationFile, read_samples
from ata_mm.datasets.checks import (
    check_lines,
    count_classes,
    decode_fault,
    same_frames,
)


@pytest.fixture
def listed(tmp_path):
    """An annotation file of these lines, in the folder of its samples."""

    def listed(*lines, **kwargs):
        path = tmp_path / 'list.txt'
        path.write_text('\n'.join(lines) + '\n')
        return AnnotationFile(str(path), str(tmp_path), **kwargs)

    return listed


@pytest.fixture
def frames(tmp_path, listed):
    """A folder of five images, img_00001.jpg on; returns what decode_fault
    says to this line about it."""
    folder = tmp_path / 'frames'
    folder.mkdir()
    for index in range(1, 6):
        cv2.imwrite(
            str(folder / f'img_{index:05}.jpg'), np.zeros((8, 8), np.uint8))

    def frames(line, fields=('path', 'total_frames', 'label')):
        file = listed(
            line, delimiter=None, fields=fields, filename_tmpl='img_{:05}.jpg')
        return decode_fault(read_samples(file)[0][0])

    return frames


def test_all_faults_are_found(listed, tmp_path):
    (tmp_path / 'a.mp4').touch()
    file = listed('a.mp4 0', 'a b.mp4 1', 'a.mp4 9', 'lost.mp4 1', 'a.mp4 x')
    good, faults = check_lines(file, 2)
    assert [sample.line for sample in good] == [1, 3]
    for line in (2, 3, 4, 5):
        assert sum(f'list.txt, line {line}:' in str(f) for f in faults) == 1


def test_an_unreadable_file_is_a_fault(tmp_path):
    good, faults = check_lines(AnnotationFile(str(tmp_path / 'no.txt')), 2)
    assert not good and 'no annotation file' in str(faults[0])


def test_a_good_video_has_no_fault(listed, tmp_path, write_video):
    write_video(tmp_path / 'a.mp4')
    assert decode_fault(read_samples(listed('a.mp4 0'))[0][0]) is None


@pytest.mark.parametrize('content, complaint', [
    (b'', 'is empty'),
    (b'no video', 'cannot be decoded'),
])
def test_a_bad_video_is_named(listed, tmp_path, content, complaint):
    (tmp_path / 'a.mp4').write_bytes(content)
    fault = decode_fault(read_samples(listed('a.mp4 0'))[0][0])
    assert f'a.mp4 {complaint}' in str(fault)


def test_a_video_cut_off_is_found(listed, tmp_path, write_video):
    path = tmp_path / 'a.mp4'
    write_video(path)
    path.write_bytes(path.read_bytes()[:-2000])  # the index is at the end
    fault = decode_fault(read_samples(listed('a.mp4 0'))[0][0])
    assert 'cannot be decoded' in str(fault)


def test_a_folder_of_frames_has_no_fault(frames):
    assert frames('frames 5 0') is None
    with_offset = ('path', 'offset', 'total_frames', 'label')
    assert frames('frames 2 3 0', with_offset) is None


def test_a_file_is_no_folder_of_frames(frames):
    assert 'expected a folder' in str(frames('frames/img_00001.jpg 5 0'))


def test_the_same_frames_are_put_together(listed):
    samples, _ = read_samples(listed('a 1', 'b 1', 'a 0'))
    again, _ = read_samples(listed('a', labelled=False))
    groups = same_frames(samples + again)
    assert [len(group) for group in groups] == [3, 1]


def test_other_frames_of_a_folder_are_kept_apart(listed):
    fields = ('path', 'offset', 'total_frames', 'label')
    file = listed('a 0 5 0', 'a 5 5 0', fields=fields, filename_tmpl='{}.jpg')
    others = file._replace(filename_tmpl='{}.png'), file._replace(
        start_index=0)
    samples = [s for one in (file, *others) for s in read_samples(one)[0]]
    assert len(same_frames(samples)) == 6


def test_missing_frames_are_counted(frames):
    assert 'has 5 of the 7 frames' in str(frames('frames 7 0'))


def test_a_broken_image_is_named(frames, tmp_path):
    (tmp_path / 'frames' / 'img_00003.jpg').write_bytes(b'no image')
    assert 'img_00003.jpg cannot be decoded' in str(frames('frames 5 0'))


def test_classes_are_counted(listed):
    file = listed('a 1', 'b 1', 'c 0', 'd 7', 'e', labelled=False)
    assert count_classes(read_samples(file)[0], 3) == [1, 2, 0]
