# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import cv2
import numpy as np
import pytest
from mmaction.registry import TRANSFORMS

from ata_mm.datasets import VideoDecode
from ata_mm.datasets.annotations import AnnotationFile, read_samples
from ata_mm.datasets.sample_checks import (
    check_lines,
    count_classes,
    decode_fault,
    repetitions,
    same_frames,
)


@pytest.fixture
def frames(tmp_path, listed):
    """Decode a line about a folder of five images, img_00001.jpg to 5."""
    folder = tmp_path / 'frames'
    folder.mkdir()
    for index in range(1, 6):
        cv2.imwrite(
            str(folder / f'img_{index:05}.jpg'), np.zeros((8, 8), np.uint8)
        )

    def frames(line, fields=('path', 'total_frames')):
        file = listed(
            line, delimiter=None, fields=fields, filename_tmpl='img_{:05}.jpg'
        )
        return decode_fault(read_samples(file)[0][0])

    return frames


def test_all_faults_are_found(listed, tmp_path):
    (tmp_path / 'a.mp4').touch()
    file = listed('a.mp4 0', 'a b.mp4 1', 'a.mp4 9', 'lost.mp4 1', 'a.mp4 x')
    good, faults = check_lines(file, 2)
    assert [sample.line for sample in good] == [1, 3]
    for line in (2, 3, 4, 5):
        assert sum(f'list.txt, line {line}:' in str(f) for f in faults) == 1


def test_labels_are_not_checked_without_a_number_of_classes(listed, tmp_path):
    (tmp_path / 'a.mp4').touch()
    good, faults = check_lines(listed('a.mp4 9'), None)
    assert len(good) == 1 and not faults


def test_an_unreadable_file_is_a_fault(tmp_path):
    good, faults = check_lines(AnnotationFile(str(tmp_path / 'no.txt')), 2)
    assert not good and 'an annotation file, but' in str(faults[0])


def test_a_valid_video_has_no_fault(listed, tmp_path, write_video):
    write_video(tmp_path / 'a.mp4')
    assert decode_fault(read_samples(listed('a.mp4 0'))[0][0]) is None


@pytest.mark.parametrize(
    'content, complaint',
    [
        (b'', 'is empty'),
        (b'no video', 'cannot be decoded'),
    ],
)
def test_an_invalid_video_is_named(listed, tmp_path, content, complaint):
    (tmp_path / 'a.mp4').write_bytes(content)
    fault = decode_fault(read_samples(listed('a.mp4 0'))[0][0])
    assert f'a.mp4 {complaint}' in str(fault)


def test_a_truncated_video_is_found(listed, tmp_path, write_video):
    path = tmp_path / 'a.mp4'
    write_video(path)
    path.write_bytes(path.read_bytes()[:-2000])  # the index is at the end
    fault = decode_fault(read_samples(listed('a.mp4 0'))[0][0])
    assert 'is truncated' in str(fault)


def test_remote_videos_are_not_decoded(listed):
    file = listed('s3://bucket/a.mp4 0')._replace(data_prefix='')
    assert decode_fault(read_samples(file)[0][0]) is None


def test_a_folder_of_frames_has_no_fault(frames):
    assert frames('frames 5 0') is None
    with_offset = ('path', 'offset', 'total_frames')
    assert frames('frames 2 3 0', with_offset) is None


def test_a_file_is_no_folder_of_frames(frames):
    assert 'Expected a folder' in str(frames('frames/img_00001.jpg 5 0'))


def test_missing_frames_are_counted(frames):
    assert 'got 5 of the 7 frames' in str(frames('frames 7 0'))


def test_a_folder_without_frames_is_a_fault(frames):
    assert 'at least one' in str(frames('frames 0 0'))


def test_a_damaged_image_is_named(frames, tmp_path):
    (tmp_path / 'frames' / 'img_00003.jpg').write_bytes(b'no image')
    assert 'img_00003.jpg cannot be decoded' in str(frames('frames 5 0'))


def test_the_same_frames_are_grouped(listed):
    samples, _ = read_samples(listed('a 1', 'b 1', 'a 0'))
    again, _ = read_samples(listed('a', labelled=False))
    groups = same_frames(samples + again)
    assert [len(group) for group in groups] == [3, 1]


def test_other_frames_of_a_folder_are_kept_apart(listed):
    fields = ('path', 'offset', 'total_frames')
    file = listed('a 0 5 0', 'a 5 5 0', fields=fields, filename_tmpl='{}.jpg')
    others = (
        file._replace(filename_tmpl='{}.png'),
        file._replace(start_index=0),
    )
    samples = [s for one in (file, *others) for s in read_samples(one)[0]]
    assert len(same_frames(samples)) == 6


def test_classes_are_counted(listed):
    file = listed('a 1', 'b 1', 'c 0', 'd 7', 'e', labelled=False)
    assert count_classes(read_samples(file)[0], 3) == [1, 2, 0]


def test_samples_of_several_labels_count_for_each(listed):
    file = listed('a 0 1', 'b 1 1', 'c', multi_label=True)
    assert count_classes(read_samples(file)[0], 2) == [1, 2]


@TRANSFORMS.register_module()
class LateDecode(VideoDecode):
    """Decodes the frame after the one asked for."""

    def transform(self, results):
        late = (results['frame_inds'] + 1) % results['total_frames']
        return super().transform(dict(results, frame_inds=late))


def test_decoder_that_gives_other_frames_is_found(listed, video_root):
    (sample,), _ = read_samples(listed(f'{video_root}/0.mp4 0'))
    decoder = dict(type='VideoInit'), dict(type='LateDecode')
    fault = decode_fault(sample, decoder)
    assert 'frame 19 looks like frame 0 in order' in str(fault)
    assert decode_fault(sample) is None


def test_decoder_that_counts_other_frames_is_found(listed, video_root):
    def init(results):
        return dict(results, total_frames=21)

    (sample,), _ = read_samples(listed(f'{video_root}/0.mp4 0'))
    fault = decode_fault(sample, (init, dict(type='VideoDecode')))
    assert 'has 21 frames for function and 20 in order' in str(fault)


def test_frames_with_two_labels_are_found(listed):
    lines, _ = read_samples(listed('a.mp4 0', 'b.mp4 1', 'a.mp4 1'))
    (found,) = repetitions({'val': lines})
    assert '1 of 2 in val' in found and '0 (line 1) and 1 (line 3)' in found
    assert repetitions({'val': lines[:2]}) == []


def test_training_frames_in_validation_are_found(listed):
    lines, _ = read_samples(listed('a.mp4 0', 'b.mp4 1'))
    (found,) = repetitions({'train': lines, 'val': lines[1:]})
    assert '1 of 1 in val are in train, too' in found and 'b.mp4' in found
    assert repetitions({'train': lines[:1], 'val': lines[1:]}) == []


def test_other_segments_of_a_video_are_other_frames(listed):
    fields = ('path', 'offset', 'total_frames')
    file = listed('a 0 9 0', 'a 9 9 1', fields=fields, delimiter=None)
    first, second = read_samples(file)[0]
    assert repetitions({'train': [first], 'val': [second]}) == []
