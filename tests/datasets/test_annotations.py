# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
from mmengine.config import Config

from ata_mm.datasets.annotation_file import AnnotationFile
from ata_mm.datasets.annotations import check_annotations, check_config


@pytest.fixture
def write(tmp_path):
    """Write an annotation file beside two videos, a.mp4 and b.mp4."""
    for name in ('a.mp4', 'b.mp4'):
        (tmp_path / name).touch()

    def write(*lines):
        path = tmp_path / 'list.txt'
        path.write_text('\n'.join(lines) + '\n')
        return dict(ann_file=str(path), data_prefix=str(tmp_path))

    return write


def config(ann_file, data_prefix, loader='train', num_classes=2, **kwargs):
    dataset = dict(
        type='VideoDataset',
        ann_file=ann_file,
        data_prefix=dict(video=data_prefix))
    dataset.update(kwargs)
    return Config({
        'model': dict(cls_head=dict(num_classes=num_classes)),
        f'{loader}_dataloader': dict(dataset=dataset)
    })


def test_a_good_file_passes(write):
    check_annotations(AnnotationFile(**write('a.mp4 0', 'b.mp4 1')), 2)


@pytest.mark.parametrize('line, complaint', [
    ('my video.mp4 1', r'line 2.*2 fields.*there are 3.*delimiter'),
    ('b.mp4,1', r"line 2.*there are 1.*delimiter=','"),
    ('', 'line 2.*2 fields'),
    ('b.mp4 dog', "line 2.*label must be an integer, but got 'dog'"),
    ('b.mp4 1.0', 'line 2.*label must be an integer'),
    ('b.mp4 -1', 'line 2.*0..1, but got -1'),
    ('b.mp4 7', 'line 2.*0..1, but got 7.*num_classes in cls_head above 7'),
])
def test_a_bad_line_is_named(write, line, complaint):
    with pytest.raises(ValueError, match=complaint):
        check_annotations(
            AnnotationFile(**write('a.mp4 0', line, 'a.mp4 1')), 2)


def test_labels_from_one_are_recognised(write):
    with pytest.raises(ValueError, match='line 2.*count from 1'):
        check_annotations(AnnotationFile(**write('a.mp4 1', 'b.mp4 2')), 2)


def test_an_empty_file_is_an_error(write):
    with pytest.raises(ValueError, match='is empty'):
        check_annotations(AnnotationFile(**write()), 2)


def test_another_encoding_is_named(tmp_path):
    path = tmp_path / 'list.txt'
    path.write_bytes('café.mp4 0'.encode('latin-1'))
    with pytest.raises(ValueError, match='list.txt is not UTF-8.*byte 0xe9'):
        check_annotations(AnnotationFile(str(path)), 2)


def test_a_missing_annotation_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='none.txt.*ann_file'):
        check_annotations(AnnotationFile(str(tmp_path / 'none.txt')), 2)


def test_missing_videos_are_counted_and_named(write):
    lines = ['a.mp4 0', 'lost.mp4 0', 'sub/lost.mp4 1']
    with pytest.raises(
            FileNotFoundError, match='2 of the 3.*lost.mp4.*data_prefix'):
        check_annotations(AnnotationFile(**write(*lines)), 2)


def test_a_video_without_suffix_is_an_mp4_file(write, tmp_path):
    file = AnnotationFile(**write('clip 0'))
    (tmp_path / 'clip').touch()
    with pytest.raises(FileNotFoundError, match='1 of the 1'):
        check_annotations(file, 2)
    (tmp_path / 'clip.mp4').touch()
    check_annotations(file, 2)


def test_another_delimiter_allows_spaces_in_paths(write, tmp_path):
    (tmp_path / 'my video.mp4').touch()
    check_annotations(
        AnnotationFile(**write('my video.mp4,1'), delimiter=','), 2)


def test_config_checks_against_the_head(write):
    cfg = config(**write('a.mp4 0', 'b.mp4 5'), num_classes=5)
    with pytest.raises(ValueError, match='0..4, but got 5'):
        check_config(cfg)


def test_config_joins_data_root(write, tmp_path):
    write('a.mp4 0', 'b.mp4 1')
    check_config(config('list.txt', '', data_root=str(tmp_path)))


def test_config_looks_into_wrappers(write):
    inner = config(**write('a.mp4 9')).train_dataloader.dataset
    cfg = config('', '')
    cfg.train_dataloader.dataset = dict(
        type='RepeatDataset',
        times=2,
        dataset=dict(type='ConcatDataset', datasets=[inner]))
    with pytest.raises(ValueError, match='got 9'):
        check_config(cfg)


def test_config_reads_frame_folders(write, tmp_path):
    (tmp_path / 'frames').mkdir()
    where = write('frames 30 0', 'frames many 1')
    prefix = dict(img=where['data_prefix'])
    cfg = config(where['ann_file'], '', type='RawframeDataset')
    cfg.train_dataloader.dataset.data_prefix = prefix
    with pytest.raises(ValueError, match='total_frames must be an integer'):
        check_config(cfg)


@pytest.mark.parametrize('loader, good', [('test', True), ('val', False)])
def test_only_test_files_may_lack_labels(write, loader, good):
    cfg = config(**write('a.mp4', 'b.mp4'), loader=loader)
    if good:
        check_config(cfg)
    else:
        with pytest.raises(ValueError, match='there are 1'):
            check_config(cfg)


def test_config_looks_only_at_the_loaders_asked_for(write):
    cfg = config(**write('a.mp4 9'), loader='test')
    check_config(cfg, loaders=('train', 'val'))


def test_config_leaves_alone_what_makes_itself():
    cfg = config('', '')
    cfg.train_dataloader.dataset = dict(
        type='CameraMotionDataset', data_root='nowhere', split='train')
    check_config(cfg)
