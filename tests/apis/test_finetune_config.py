# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest

from ata_mm.apis import load_config
from ata_mm.apis.backbone_choice import Wanted, choose_backbone
from ata_mm.apis.finetune_config import Plan, write_config
from ata_mm.datasets.own_videos import OwnVideo, OwnVideos
from ata_mm.datasets.splits import Split


@pytest.fixture
def read(tmp_path):
    """Write the config of a plan with some changes, and read it."""

    def read(classes=('cut', 'mix'), name='ATATimeSformer-micro', **changes):
        videos = [
            OwnVideo(f'{label}/{split}.mp4', label, split)
            for label in range(len(classes))
            for split in ('train', 'val')
        ]
        wanted = Wanted(len(classes), changes.get('num_frames', 8))
        plan = Plan(
            'the command',
            choose_backbone(name, wanted),
            OwnVideos('/videos', list(classes), videos),
            Split(videos),
            tmp_path,
            ' ',
            8,
            8,
            3,
            0,
        )
        path = tmp_path / 'config.py'
        path.write_text(write_config(plan._replace(**changes)))
        return load_config(path), path.read_text()

    return read


def test_states_the_command_and_inherits(read):
    _, text = read()
    assert text.startswith('# the command\n')
    assert "'ata_mm::_base_/models/ata_timesformer_micro.py'" in text
    assert len(text.splitlines()) < 90


def test_names_classes_whose_recording_is_in_both_splits(read):
    split = Split([], recordings=3, torn=['run', 'a class\nof two lines'])
    found = OwnVideos('/videos', ['run', 'walk'], [OwnVideo('a.mp4', 0)])
    _, text = read(split=split, found=found)
    comment = ' '.join(text.split('\n# '))
    assert '3 recordings kept whole, but both splits have clips' in comment
    assert 'recording of run, a class of two lines.' in comment


@pytest.mark.parametrize('loader', ['train', 'val', 'test'])
def test_pipelines_deliver_the_clips_of_the_model(read, loader):
    cfg, _ = read(num_frames=5)
    pipeline = cfg[f'{loader}_dataloader'].dataset.pipeline
    assert pipeline[1].clip_len == cfg.model.backbone.num_frames == 5
    crop = next(step for step in pipeline if 'Crop' in step.type)
    assert crop.get('size', crop.get('crop_size')) == 24


def test_lists_are_those_of_the_folder(read, tmp_path):
    cfg, _ = read(delimiter=',')
    dataset = cfg.test_dataloader.dataset
    assert dataset.ann_file == str(tmp_path / 'val.txt')
    assert dataset.data_prefix.video == '/videos' and dataset.delimiter == ','


def test_schedule_is_that_of_the_weights(read):
    scratch, _ = read()
    pretrained, _ = read(name='ATAConvNeXt-tiny')
    assert scratch.optim_wrapper.optimizer.lr == 2e-3
    assert pretrained.optim_wrapper.optimizer.lr == 1e-4
    assert pretrained.train_cfg.max_epochs == 3


@pytest.mark.parametrize(
    'name, ratio',
    [
        ('pan left', 0.0),
        ('Right', 0.0),
        ('anticlockwise', 0.0),
        ('LINKS', 0.0),
        ('rechtsum', 0.0),
        ('bright', 0.0),  # part of a word
        ('cutting', 0.5),
    ],
)
def test_classes_with_a_side_are_not_mirrored(read, name, ratio):
    cfg, text = read(classes=(name, 'other'))
    assert cfg.train_dataloader.dataset.pipeline[5].flip_ratio == ratio
    assert ('A mirrored' in text) == (ratio == 0)


def test_reasons_are_comments(read):
    _, text = read(name='ATAConvNeXt-tiny')
    assert '        # Published weights.\n        pretrained=' in text
