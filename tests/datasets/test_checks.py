# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
from mmengine.config import Config

from ata_mm.datasets import checks
from ata_mm.datasets.checks import (
    annotation_files,
    check_annotations,
    check_config,
    multi_label_faults,
    num_classes,
    segment_faults,
)

DUMP = dict(type='DumpResults', out_file_path='out.pkl')


def config(file, loader='train', num_classes=2, **options):
    """A config with the file in one loader."""
    dataset = dict(
        type='VideoDataset',
        ann_file=file.ann_file,
        data_prefix=dict(video=file.data_prefix),
    )
    dataset.update(options)
    return Config(
        {
            'model': dict(cls_head=dict(num_classes=num_classes)),
            f'{loader}_dataloader': dict(dataset=dataset),
        }
    )


@pytest.mark.usefixtures('videos')
def test_a_valid_file_passes(listed):
    check_annotations(listed('a.mp4 0', 'b.mp4 1'), 2)


@pytest.mark.usefixtures('videos')
@pytest.mark.parametrize(
    'line, complaint',
    [
        ('my video.mp4 1', 'line 2.*2 fields.*got 3.*delimiter'),
        ('b.mp4 dog', "line 2.*label to be an integer, got 'dog'"),
        ('b.mp4 7', 'line 2.*0..1, got 7'),
    ],
)
def test_an_invalid_line_is_an_error(listed, line, complaint):
    with pytest.raises(ValueError, match=complaint):
        check_annotations(listed('a.mp4 0', line, 'a.mp4 1'), 2)


@pytest.mark.usefixtures('videos')
def test_missing_videos_are_counted_and_named(listed):
    file = listed('a.mp4 0', 'lost.mp4 0', 'sub/lost.mp4 1')
    with pytest.raises(
        FileNotFoundError, match='2 of the 3.*lost.mp4.*data_prefix'
    ):
        check_annotations(file, 2)


@pytest.mark.usefixtures('videos')
def test_config_checks_against_the_head(listed):
    cfg = config(listed('a.mp4 0', 'b.mp4 5'), num_classes=5)
    with pytest.raises(ValueError, match='0..4, got 5'):
        check_config(cfg)


@pytest.mark.usefixtures('videos')
def test_config_joins_data_root(listed, tmp_path):
    file = listed('a.mp4 0', 'b.mp4 1')
    relative = file._replace(ann_file='list.txt', data_prefix='')
    cfg = config(relative, data_root=str(tmp_path))
    check_config(cfg)
    ((_, _, found, _),) = annotation_files(cfg)
    assert found.ann_file == file.ann_file


@pytest.mark.usefixtures('videos')
def test_config_looks_into_wrappers(listed):
    cfg = config(listed('a.mp4 9'))
    inner = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(
        type='RepeatDataset',
        times=2,
        dataset=dict(type='ConcatDataset', datasets=[inner]),
    )
    with pytest.raises(ValueError, match='got 9'):
        check_config(cfg)


def test_config_reads_frame_folders(listed, tmp_path):
    (tmp_path / 'frames').mkdir()
    cfg = config(
        listed('frames 30 0', 'frames many 1'),
        type='RawframeDataset',
        data_prefix=dict(img=str(tmp_path)),
    )
    with pytest.raises(ValueError, match='total_frames to be an integer'):
        check_config(cfg)


@pytest.mark.usefixtures('videos')
def test_test_files_may_lack_labels(listed):
    cfg = config(listed('a.mp4', 'b.mp4'), loader='test')
    check_config(cfg)
    cfg.test_evaluator = [DUMP]
    check_config(cfg)


@pytest.mark.usefixtures('videos')
def test_accuracies_need_labels(listed):
    cfg = config(listed('a.mp4', 'b.mp4'), loader='test')
    cfg.test_evaluator = dict(type='AccMetric')
    with pytest.raises(ValueError, match='labels in .* for AccMetric, got'):
        check_config(cfg)


@pytest.mark.usefixtures('videos')
@pytest.mark.parametrize(
    'score, complaint',
    [
        ('mean_average_precision', None),
        ('mmit_mean_average_precision', "line 2: 'b.mp4'.*got none on 1"),
    ],
)
def test_a_precision_of_each_video_needs_a_label_of_each(
    listed, score, complaint
):
    file = listed('a.mp4 0', 'b.mp4')
    cfg = config(file, loader='test', multi_class=True, num_classes=2)
    cfg.model.cls_head.multi_class = True
    cfg.test_dataloader.dataset.num_classes = 2
    cfg.test_evaluator = dict(type='AccMetric', metric_list=(score,))
    if complaint is None:
        check_config(cfg)
        return
    with pytest.raises(ValueError, match=complaint):
        check_config(cfg)


@pytest.mark.parametrize('delimiter', [['', ''], '', 1])
def test_a_delimiter_is_a_string(listed, delimiter):
    cfg = config(listed('a.mp4 0'), delimiter=delimiter)
    with pytest.raises(ValueError, match='delimiter of .*list.txt to be a'):
        check_config(cfg)


@pytest.mark.usefixtures('videos')
def test_predictions_without_labels_are_written_with_a_warning(
    listed, monkeypatch
):
    cfg = config(listed('a.mp4', 'b.mp4'), loader='test')
    cfg.test_evaluator = [dict(type='AccMetric'), DUMP]
    logged = []
    monkeypatch.setattr(
        checks, 'print_log', lambda text, **options: logged.append(text)
    )
    check_config(cfg)
    assert len(logged) == 1 and logged[0].startswith('Expected labels in')


@pytest.mark.usefixtures('videos')
def test_validation_files_may_not_lack_labels(listed):
    with pytest.raises(ValueError, match='got 1. For'):
        check_config(config(listed('a.mp4', 'b.mp4'), loader='val'))


def test_config_reads_only_the_given_loaders(listed):
    cfg = config(listed('lost.mp4 9'), loader='test')
    check_config(cfg, loaders=('train', 'val'))


def test_config_skips_data_sets_that_make_their_files():
    dataset = dict(
        type='CameraMotionDataset', data_root='nowhere', split='train'
    )
    cfg = Config(dict(train_dataloader=dict(dataset=dataset)))
    check_config(cfg)
    ((_, name, file, _),) = annotation_files(cfg)
    assert (name, file) == ('CameraMotionDataset', None)


def test_number_of_classes_is_that_of_the_head():
    head = dict(cls_head=dict(num_classes=7))
    assert num_classes(Config(dict(model=head))) == 7
    assert num_classes(Config(dict(model=dict(cls_head=None)))) is None
    assert num_classes(Config()) is None


def multi_label(
    head=True, data=True, classes=3, metric='mean_average_precision'
):
    """A config of a multi-label recognizer."""
    return Config(
        dict(
            model=dict(cls_head=dict(multi_class=head, num_classes=3)),
            val_dataloader=dict(
                dataset=dict(
                    type='VideoDataset', multi_class=data, num_classes=classes
                )
            ),
            val_evaluator=dict(type='AccMetric', metric_list=(metric,)),
        )
    )


def test_a_multi_label_recipe_has_no_fault():
    assert multi_label_faults(multi_label()) == []
    assert multi_label_faults(Config(dict(model=dict()))) == []


@pytest.mark.parametrize(
    'options, expected',
    [
        (dict(head=False, metric='top_k_accuracy'), 'Expected multi_class=F'),
        (dict(data=False), 'Expected multi_class=True in the dataset of val'),
        (dict(classes=4), 'Expected num_classes=3 in the dataset of val'),
        (dict(metric='top_k_accuracy'), 'Expected metric_list='),
    ],
)
def test_parts_that_disagree_on_several_labels_are_named(options, expected):
    (fault,) = multi_label_faults(multi_label(**options))
    assert str(fault).startswith(expected)


def neck(num_clips, **model):
    """A config of a Recognizer2D with an ATANeck of 8 segments."""
    steps = [dict(type='SampleFrames', clip_len=1, num_clips=num_clips)]
    return Config(
        dict(
            model=dict(
                type='Recognizer2D',
                neck=dict(type='ATANeck', num_segments=8),
                **model,
            ),
            test_dataloader=dict(dataset=dict(pipeline=steps)),
        )
    )


@pytest.mark.parametrize('num_clips', [8, 16])
def test_pipelines_of_as_many_segments_as_the_neck_pass(num_clips):
    assert segment_faults(neck(num_clips)) == []


def test_a_test_of_other_segments_is_found_before_a_training():
    with pytest.raises(ValueError, match='test_dataloader.* got 25. Set num_'):
        check_config(neck(25), ['train'])
