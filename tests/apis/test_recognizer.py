# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import copy
import pickle
import shutil
import warnings

import cv2
import numpy as np
import pytest
import torch

from ata_mm.apis import VideoRecognizer, load_config
from ata_mm.apis.recognizer import class_names


@pytest.fixture(scope='module')
def recognizer(tiny_config, checkpoint):
    return VideoRecognizer(tiny_config, str(checkpoint), device='cpu')


@pytest.fixture
def unnamed(tiny_config):
    """The config without class names."""
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
            atol=1e-6,
        )


def test_scores_of_other_views_are_those_of_test_py(
    run, tiny_config, checkpoint, video_root, tmp_path
):
    step = 'test_dataloader.dataset.pipeline.'
    done = run(
        'test.py',
        tiny_config,
        checkpoint,
        '--work-dir',
        tmp_path,
        '--dump',
        tmp_path / 'dump.pkl',
        '--cfg-options',
        f'{step}1.num_clips=2',
        f'{step}4.type=CenterCrop',
    )
    assert done.returncode == 0, done.stderr
    with open(tmp_path / 'dump.pkl', 'rb') as file:
        expected = pickle.load(file)[0]['pred_score']
    recognizer = VideoRecognizer(
        tiny_config, str(checkpoint), device='cpu', views='1x2'
    )
    scores = recognizer.scores(video_root / '0.mp4')
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-6)


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


def test_class_names_of_another_encoding_are_named(unnamed, tmp_path):
    (tmp_path / 'classes.txt').write_bytes('caf\xe9\nbar\n'.encode('latin-1'))
    cfg = copy.deepcopy(unnamed)
    cfg.test_dataloader.dataset.metainfo = dict(
        classes=str(tmp_path / 'classes.txt')
    )
    with pytest.raises(ValueError, match='classes.txt is not UTF-8'):
        class_names(cfg, {})


def test_classes_without_names_are_numbered(unnamed):
    assert class_names(unnamed, {}) == ['class 0', 'class 1']


def test_wrong_number_of_names(unnamed):
    meta = dict(dataset_meta=dict(classes=['a', 'b', 'c']))
    with pytest.raises(ValueError, match='the 2 classes of .* got 3'):
        class_names(unnamed, meta)


def test_missing_video(recognizer, tmp_path):
    with pytest.raises(FileNotFoundError, match='x.mp4 does not exist'):
        recognizer(tmp_path / 'x.mp4')


def test_directory(recognizer, tmp_path):
    with pytest.raises(ValueError, match='is a directory'):
        recognizer(tmp_path)


@pytest.mark.parametrize('kept', [100, 2000])
def test_broken_video(kept, recognizer, video_root, tmp_path):
    path = tmp_path / 'broken.mp4'
    path.write_bytes((video_root / '0.mp4').read_bytes()[:kept])
    with pytest.raises(ValueError, match='broken.mp4 is truncated'):
        recognizer(path)


def test_empty_file(recognizer, tmp_path):
    (tmp_path / 'empty.mp4').touch()
    with pytest.raises(ValueError, match='empty.mp4 is empty'):
        recognizer(tmp_path / 'empty.mp4')


def test_image(recognizer, tmp_path):
    cv2.imwrite(str(tmp_path / 'frame.png'), np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(ValueError, match='frame.png is an image'):
        recognizer(tmp_path / 'frame.png')


def test_short_video_is_warned_of(recognizer, write_video, tmp_path):
    write_video(tmp_path / 'short.mp4', num_frames=6)
    with pytest.warns(UserWarning, match='has 6 frames, fewer than the 7'):
        assert len(recognizer(tmp_path / 'short.mp4')) == 2


def test_video_of_a_clip_is_not_warned_of(recognizer, write_video, tmp_path):
    write_video(tmp_path / 'long.mp4', num_frames=7)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        recognizer(tmp_path / 'long.mp4')


def test_config_is_left_as_it_was(tiny_config, checkpoint):
    cfg = load_config(tiny_config)
    VideoRecognizer(cfg, str(checkpoint), device='cpu', views='1x2')
    assert cfg.test_dataloader.dataset.pipeline[1].num_clips == 1


def test_video_without_frames(recognizer, write_video, tmp_path):
    path = tmp_path / 'zero.mp4'
    write_video(path, num_frames=0)
    with pytest.raises(ValueError, match='zero.mp4 has no video stream'):
        recognizer(path)


def test_video_without_a_suffix(recognizer, video_root, tmp_path):
    shutil.copy(video_root / '0.mp4', tmp_path / 'clip')
    scores = recognizer.scores(tmp_path / 'clip')
    assert torch.equal(scores, recognizer.scores(video_root / '0.mp4'))


def test_checkpoint_that_is_broken(tiny_config, tmp_path):
    (tmp_path / 'x.pth').write_bytes(b'text')
    with pytest.raises(ValueError, match='x.pth, which cannot be read'):
        VideoRecognizer(tiny_config, str(tmp_path / 'x.pth'), device='cpu')


def test_checkpoint_of_another_model(tiny_config, checkpoint):
    cfg = load_config(tiny_config, {'model.backbone.num_layers': 3})
    with pytest.raises(ValueError, match='does not fit the model'):
        VideoRecognizer(cfg, str(checkpoint), device='cpu')


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is CUDA')
def test_cuda_where_there_is_none(tiny_config, checkpoint):
    with pytest.raises(ValueError, match="Use 'cpu'"):
        VideoRecognizer(tiny_config, str(checkpoint), device='cuda')


def test_views_that_are_not_averaged(tiny_config, checkpoint, video_root):
    cfg = load_config(tiny_config, {'model.cls_head.average_clips': None})
    recognizer = VideoRecognizer(cfg, str(checkpoint), device='cpu')
    with pytest.raises(ValueError, match="average_clips='prob'"):
        recognizer(video_root / '0.mp4')


def save(checkpoint, path, **changes):
    """A copy of a checkpoint with other contents."""
    loaded = torch.load(checkpoint)
    loaded.update(changes)
    torch.save(loaded, path)
    return str(path)


@pytest.mark.parametrize('number', [float('nan'), float('inf')])
def test_weights_that_are_not_finite_are_refused(
    tiny_config, checkpoint, tmp_path, number
):
    weights = dict(torch.load(checkpoint)['state_dict'])
    weights['backbone.norm.weight'][0] = number
    path = save(checkpoint, tmp_path / 'x.pth', state_dict=weights)
    with pytest.raises(ValueError, match='finite weights in .*x.pth'):
        VideoRecognizer(tiny_config, path, 'cpu')


def test_scores_that_are_not_finite_are_refused(
    tiny_config, checkpoint, tmp_path, video_root
):
    weights = dict(torch.load(checkpoint)['state_dict'])
    weights['cls_head.fc_cls.weight'].fill_(3e38)
    path = save(checkpoint, tmp_path / 'x.pth', state_dict=weights)
    recognizer = VideoRecognizer(tiny_config, path, 'cpu')
    with pytest.raises(ValueError, match='Expected finite scores'):
        recognizer(video_root / '0.mp4')


def test_a_sample_that_cannot_be_scored_costs_itself_only(
    recognizer, video_root
):
    good = recognizer.read(video_root / '0.mp4')
    large = dict(good, inputs=good['inputs'].repeat(1, 1, 1, 2, 1))
    first, error, second = recognizer.score_each([good, large, good])
    assert isinstance(error, ValueError)
    expected = recognizer.score(good)
    assert torch.equal(first, expected) and torch.equal(second, expected)


def test_half_precision_changes_little(tiny_config, checkpoint, video_root):
    path = video_root / '0.mp4'
    full, half = (
        VideoRecognizer(tiny_config, str(checkpoint), 'cpu', amp=amp)
        for amp in (False, True)
    )
    scores, expected = half.scores(path), full.scores(path)
    assert scores.dtype == torch.float32 and not torch.equal(scores, expected)
    torch.testing.assert_close(scores, expected, rtol=0, atol=0.02)


@pytest.mark.parametrize('meta', [None, [], dict(dataset_meta=None)])
def test_a_checkpoint_without_meta(unnamed, checkpoint, tmp_path, meta):
    path = save(checkpoint, tmp_path / 'x.pth', meta=meta)
    recognizer = VideoRecognizer(unnamed, path, 'cpu')
    assert recognizer.classes == ['class 0', 'class 1']


@pytest.mark.parametrize('classes', [['one'], dict(a=0, b=1), 2])
def test_odd_class_names_are_named(unnamed, classes):
    meta = dict(dataset_meta=dict(classes=classes))
    with pytest.raises(ValueError, match="the checkpoint's meta"):
        class_names(unnamed, meta)


def test_class_names_are_lines_of_text(unnamed):
    meta = dict(dataset_meta=dict(classes=('\ufeffpan\r\nleft', 7)))
    assert class_names(unnamed, meta) == ['pan left', '7']


def test_a_model_of_extracted_frames_reads_videos(
    recognizer, tiny_config, checkpoint, video_root
):
    cfg = load_config(tiny_config)
    steps = cfg.test_dataloader.dataset.pipeline
    assert steps[2].type == 'VideoDecode'
    steps[:3] = [steps[1], dict(type='RawFrameDecode')]
    cfg.test_dataloader.dataset.type = 'RawframeDataset'
    scores = VideoRecognizer(cfg, str(checkpoint), 'cpu').scores
    video = video_root / '0.mp4'
    assert scores(video).equal(recognizer.scores(video))


def test_other_statistics_than_those_of_the_checkpoint_are_warned_of(
    tiny_config, checkpoint
):
    options = {'model.data_preprocessor.mean': [0.0, 0.0, 0.0]}
    with pytest.warns(UserWarning, match='the mean and std of the weights'):
        VideoRecognizer(
            load_config(tiny_config, options), str(checkpoint), 'cpu'
        )


def test_a_checkpoint_is_a_path(tiny_config, checkpoint):
    VideoRecognizer(tiny_config, checkpoint, 'cpu')
