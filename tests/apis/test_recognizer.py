# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pickle
import shutil

import pytest
import torch

from ata_mm.apis import VideoRecognizer, load_config
from ata_mm.apis.recognizer import class_names


@pytest.fixture(scope='module')
def recognizer(tiny_config, checkpoint):
    return VideoRecognizer(tiny_config, str(checkpoint), device='cpu')


@pytest.fixture
def unnamed(tiny_config):
    """The config without class names of its own."""
    cfg = load_config(tiny_config)
    cfg.test_dataloader.dataset.pop('metainfo')
    return cfg


def test_scores_are_those_of_test_py(recognizer, dump, video_root):
    with open(dump, 'rb') as file:
        samples = pickle.load(file)
    for i, sample in enumerate(samples):
        torch.testing.assert_close(
            recognizer.scores(video_root / f'{i}.mp4'),
            sample['pred_score'],
            rtol=0,
            atol=1e-6)


def test_labels_come_best_first(recognizer, video_root):
    (first, high), (second, low) = recognizer(video_root / '0.mp4')
    assert {first, second} == {'pan left', 'pan right'}
    assert high >= low and high + low == pytest.approx(1)


def test_label_belongs_to_its_score(recognizer, video_root):
    scores = recognizer.scores(video_root / '0.mp4')
    expected = dict(zip(['pan left', 'pan right'], scores.tolist()))
    assert dict(recognizer(video_root / '0.mp4')) == expected


def test_topk_limits_the_labels(recognizer, video_root):
    assert len(recognizer(video_root / '0.mp4', topk=1)) == 1


def test_class_names_of_the_checkpoint(unnamed):
    meta = dict(dataset_meta=dict(classes=['a', 'b']))
    assert class_names(unnamed, meta) == ['a', 'b']


def test_classes_without_names_are_numbered(unnamed):
    assert class_names(unnamed, {}) == ['class 0', 'class 1']


def test_wrong_number_of_names(unnamed):
    meta = dict(dataset_meta=dict(classes=['a', 'b', 'c']))
    with pytest.raises(ValueError, match='has 2 classes, .* names 3'):
        class_names(unnamed, meta)


def test_missing_video(recognizer, tmp_path):
    with pytest.raises(FileNotFoundError, match='x.mp4 does not exist'):
        recognizer(tmp_path / 'x.mp4')


def test_directory(recognizer, tmp_path):
    with pytest.raises(ValueError, match='is a directory'):
        recognizer(tmp_path)


@pytest.mark.parametrize('kept', [0, 100, 2000])
def test_broken_video(kept, recognizer, video_root, tmp_path):
    path = tmp_path / 'broken.mp4'
    path.write_bytes((video_root / '0.mp4').read_bytes()[:kept])
    with pytest.raises(ValueError, match='broken.mp4 cannot be decoded'):
        recognizer(path)


def test_video_without_frames(recognizer, write_video, tmp_path):
    path = tmp_path / 'zero.mp4'
    write_video(path, num_frames=0)
    with pytest.raises(ValueError, match='zero.mp4 cannot be decoded'):
        recognizer(path)


def test_video_without_a_suffix(recognizer, video_root, tmp_path):
    shutil.copy(video_root / '0.mp4', tmp_path / 'clip')
    with pytest.raises(ValueError, match='clip has no suffix'):
        recognizer(tmp_path / 'clip')


def test_checkpoint_of_another_model(tiny_config, checkpoint):
    cfg = load_config(tiny_config, {'model.backbone.num_layers': 3})
    with pytest.raises(ValueError, match='does not fit the model'):
        VideoRecognizer(cfg, str(checkpoint), device='cpu')


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is CUDA')
def test_cuda_where_there_is_none(tiny_config, checkpoint):
    with pytest.raises(ValueError, match="use 'cpu'"):
        VideoRecognizer(tiny_config, str(checkpoint), device='cuda')


def test_views_that_are_not_averaged(tiny_config, checkpoint, video_root):
    cfg = load_config(tiny_config, {'model.cls_head.average_clips': None})
    recognizer = VideoRecognizer(cfg, str(checkpoint), device='cpu')
    with pytest.raises(ValueError, match="average_clips='prob'"):
        recognizer(video_root / '0.mp4')
