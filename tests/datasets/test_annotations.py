# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest

from ata_mm.datasets.annotations import (
    AnnotationFile,
    label_faults,
    missing_files,
    read_samples,
)


@pytest.fixture
def listed(tmp_path):
    """Write an annotation file beside two videos, a.mp4 and b.mp4."""
    for name in ('a.mp4', 'b.mp4'):
        (tmp_path / name).touch()

    def listed(*lines, **options):
        path = tmp_path / 'list.txt'
        path.write_text('\n'.join(lines) + '\n')
        return AnnotationFile(str(path), str(tmp_path), **options)

    return listed


def test_valid_lines_have_paths_and_labels(listed, tmp_path):
    samples, faults = read_samples(listed('a.mp4 0', 'sub/b.mp4 1'))
    assert faults == []
    assert [sample.labels for sample in samples] == [(0,), (1,)]
    assert samples[1].path == str(tmp_path / 'sub' / 'b.mp4')


@pytest.mark.parametrize(
    'line, complaint',
    [
        ('my video.mp4 1', r'2 fields (path, label) separated by'),
        ('my video.mp4 1', 'got 3. For paths with spaces'),
        ('b.mp4,1', 'got 1. For paths with spaces'),
        ('', 'Expected 2 fields'),
        ('b.mp4 dog', "Expected label to be an integer, got 'dog'"),
        ('b.mp4 1.0', "Expected label to be an integer, got '1.0'"),
        ('b.mp4 1_0', "Expected label to be an integer, got '1_0'"),
    ],
)
def test_an_invalid_line_is_named(listed, line, complaint):
    samples, faults = read_samples(listed('a.mp4 0', line, 'a.mp4 1'))
    assert [sample.line for sample in samples] == [1, 3]
    assert 'list.txt, line 2: ' in str(faults[0])
    assert complaint in str(faults[0])


def test_an_empty_file_is_an_error(listed):
    with pytest.raises(ValueError, match='is empty'):
        read_samples(listed())


def test_another_encoding_is_named(tmp_path):
    path = tmp_path / 'list.txt'
    path.write_bytes('café.mp4 0'.encode('latin-1'))
    with pytest.raises(ValueError, match='list.txt is not UTF-8.*byte 0xe9'):
        read_samples(AnnotationFile(str(path)))


def test_a_missing_annotation_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='none.txt.*ann_file'):
        read_samples(AnnotationFile(str(tmp_path / 'none.txt')))


def test_another_delimiter_allows_spaces_in_paths(listed, tmp_path):
    samples, _ = read_samples(listed('my video.mp4,1', delimiter=','))
    assert samples[0].path == str(tmp_path / 'my video.mp4')


def test_a_label_may_have_spaces_beside_it(listed, tmp_path):
    samples, faults = read_samples(listed('a.mp4, 1 ', delimiter=','))
    assert samples[0].labels == (1,) and not faults


def test_a_parent_folder_is_that_of_a_link(listed, tmp_path):
    (tmp_path / 'disk' / 'inner').mkdir(parents=True)
    (tmp_path / 'disk' / 'c.mp4').touch()
    (tmp_path / 'link').symlink_to(tmp_path / 'disk' / 'inner')
    samples, _ = read_samples(listed('link/../c.mp4 0', './link/../d.mp4 0'))
    assert missing_files(samples) == samples[1:]


def test_labels_are_optional_in_unlabelled_files(listed):
    samples, faults = read_samples(listed('a.mp4', 'b.mp4', labelled=False))
    assert [sample.labels for sample in samples] == [(), ()] and not faults


def test_a_line_that_alone_has_no_label_is_a_fault(listed):
    _, faults = read_samples(listed('a.mp4', 'b.mp4 1', labelled=False))
    assert len(faults) == 1
    assert "line 1: 'a.mp4': Expected a label, as" in str(faults[0])


def test_a_line_of_several_labels_may_have_none(listed):
    file = listed('a.mp4', 'b.mp4 1 2', labelled=False, multi_label=True)
    assert read_samples(file)[1] == []


@pytest.mark.parametrize(
    'label, hint',
    [
        (-1, 'remove the line'),
        (7, 'set num_classes in cls_head above 7'),
    ],
)
def test_a_label_out_of_range_is_named(listed, label, hint):
    samples, _ = read_samples(listed('a.mp4 0', f'b.mp4 {label}'))
    (fault,) = label_faults(samples, 2)
    assert f'a label in 0..1, got {label}' in str(fault)
    assert 'list.txt, line 2: ' in str(fault) and hint in str(fault)


def test_labels_that_count_from_one_are_recognised(listed):
    samples, _ = read_samples(listed('a.mp4 1', 'b.mp4 2'))
    (fault,) = label_faults(samples, 2)
    assert 'line 2' in str(fault) and 'they count from 1' in str(fault)


def test_labels_that_count_from_zero_need_more_classes(listed):
    samples, _ = read_samples(listed('a.mp4 0', 'b.mp4 2'))
    (fault,) = label_faults(samples, 2)
    assert 'set num_classes in cls_head above 2' in str(fault)


def test_missing_videos_are_found(listed):
    samples, _ = read_samples(
        listed('a.mp4 0', 'lost.mp4 0', 'sub/lost.mp4 1')
    )
    assert [sample.line for sample in missing_files(samples)] == [2, 3]


def test_remote_videos_are_not_looked_up(listed):
    samples, _ = read_samples(listed('s3://bucket/lost.mp4 0'))
    assert samples[0].path.endswith('s3://bucket/lost.mp4')
    assert missing_files(samples) == []


@pytest.mark.parametrize('name', ['clip', 'clip.mp4'])
def test_a_video_without_suffix_may_be_an_mp4_file(listed, tmp_path, name):
    samples, _ = read_samples(listed('clip 0'))
    assert missing_files(samples) == samples
    (tmp_path / name).touch()
    assert missing_files(samples) == []


def test_a_blank_line_of_fields_at_any_white_space_is_named(listed):
    _, (fault,) = read_samples(listed('a.mp4 0', '', delimiter=None))
    assert "line 2: '': Expected 2 fields" in str(fault)


def test_a_name_that_is_too_long_is_missing(listed):
    samples, _ = read_samples(listed(f'{300 * "x"}/a.mp4 0'))
    assert missing_files(samples) == samples


def test_a_folder_named_like_a_video_is_missing(listed, tmp_path):
    (tmp_path / 'x.mp4').mkdir()
    samples, _ = read_samples(listed('a.mp4 0', 'x.mp4 1'))
    assert [sample.line for sample in missing_files(samples)] == [2]


def test_a_broken_link_is_a_missing_video(listed, tmp_path):
    (tmp_path / 'broken.mp4').symlink_to(tmp_path / 'lost.mp4')
    (tmp_path / 'whole.mp4').symlink_to(tmp_path / 'a.mp4')
    samples, _ = read_samples(listed('broken.mp4 0', 'whole.mp4 1'))
    assert [sample.line for sample in missing_files(samples)] == [1]


def test_a_broken_link_is_a_missing_folder_of_frames(listed, tmp_path):
    (tmp_path / 'frames').mkdir()
    (tmp_path / 'broken').symlink_to(tmp_path / 'lost')
    (tmp_path / 'whole').symlink_to(tmp_path / 'frames')
    samples, _ = read_samples(
        listed('broken 5 0', 'whole 5 1', fields=('path', 'total_frames'))
    )
    assert [sample.line for sample in missing_files(samples)] == [1]


def test_frames_are_in_a_folder(listed):
    samples, _ = read_samples(
        listed('a.mp4 5 0', fields=('path', 'total_frames'))
    )
    assert missing_files(samples) == samples


def test_several_labels_are_read(listed):
    samples, faults = read_samples(
        listed('a.mp4 0 2', 'b.mp4', 'b.mp4 x', multi_label=True)
    )
    assert [sample.labels for sample in samples] == [(0, 2), ()]
    assert [str(fault).count('integer') for fault in faults] == [1]


def test_each_label_out_of_range_is_a_fault(listed):
    samples, _ = read_samples(listed('a.mp4 0 3 -1', multi_label=True))
    assert len(label_faults(samples, 3)) == 2
