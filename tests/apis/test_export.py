# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import os
import resource
from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS

from ata_mm.apis import VideoRecognizer, load_config
from ata_mm.apis.export import (
    ClipClassifier,
    check_onnx,
    example_clips,
    export,
    load,
)

NECK = Path(__file__).resolve().parents[2] / 'configs/ata_neck_tsn_r50_k400.py'
TEST = 'test_dataloader.dataset.pipeline'
RESNET = dict(depth=18, norm_eval=False, pretrained=None)
TSM = dict(type='ResNetTSM', num_segments=4, pretrained2d=False, **RESNET)


@pytest.fixture
def build(tiny_config, checkpoint):
    """Build the tiny model with options of its temporal module."""

    def build(**options):
        prefix = 'model.backbone.temporal.'
        cfg = load_config(
            tiny_config, {prefix + k: v for k, v in options.items()}
        )
        return VideoRecognizer(cfg, str(checkpoint), 'cpu')

    return build


@pytest.fixture
def exported(tmp_path):
    """Export a model, and check that any number of clips have its scores."""

    def exported(recognizer, format):
        path = str(tmp_path / {'torch': 'm.pt2', 'onnx': 'm.onnx'}[format])
        clips = example_clips(recognizer)
        model = export(recognizer, path, format, clips)
        loaded = load(path, format)
        more = torch.cat([clips, clips[:1]])
        with torch.no_grad():
            torch.testing.assert_close(loaded(more), model(more))
        return loaded

    return exported


@pytest.fixture
def build_2d(tmp_path):
    """Build a small Recognizer2D: ATANeck on TSN, or other parts."""

    def build_2d(**parts):
        cfg = load_config(
            NECK,
            {
                'model.neck.num_segments': 4,
                'model.neck.embed_dims': 512,
                'model.cls_head.in_channels': 512,
                'model.cls_head.num_classes': 2,
                f'{TEST}.1.num_clips': 4,
                f'{TEST}.3.scale': (-1, 64),
                f'{TEST}.4.type': 'ThreeCrop',
                f'{TEST}.4.crop_size': 64,
            },
        )
        cfg.model.backbone.update(RESNET)
        cfg.model.update(parts)
        model = MODELS.build(cfg.model)
        model.init_weights()
        if model.with_neck:  # starts as the identity
            torch.nn.init.normal_(model.neck.blocks[0].temporal_fc.weight)
        checkpoint = str(tmp_path / 'checkpoint.pth')
        torch.save(dict(state_dict=model.state_dict()), checkpoint)
        return VideoRecognizer(cfg, checkpoint, 'cpu')

    return build_2d


def test_scores_of_views_are_those_of_the_recognizer(build, video_root):
    recognizer = build()
    sample = recognizer.read(video_root / '0.mp4')
    with torch.no_grad():
        scores = ClipClassifier(recognizer.model)(sample['inputs']).mean(0)
    torch.testing.assert_close(scores, recognizer.score(sample))


def test_examples_are_clips_of_the_pipeline(build):
    clips = example_clips(build())
    assert clips.shape == (2, 3, 4, 32, 32) and clips.dtype == torch.uint8


def test_an_exact_matching_is_an_operator_of_the_file(build, exported):
    assert 'ata_mm.solve_lap' in str(exported(build(), 'torch').graph)


@pytest.mark.parametrize(
    'options, operator',
    [
        (dict(matcher=dict(type='LocalMatcher', radius=1)), 'solve_lap'),
        (
            dict(
                matcher=dict(
                    type='CoarseToFineMatcher', max_exact=2, group_size=2
                )
            ),
            'match_pairs',
        ),
        (dict(matcher='SinkhornMatcher'), 'aten.exp'),
    ],
    ids=['local', 'coarse to fine', 'soft'],
)
def test_matchers_are_exported(build, exported, options, operator):
    assert operator in str(exported(build(**options), 'torch').graph)


def test_temporal_attention_is_exported(build, exported):
    graph = exported(build(type='TemporalAttention'), 'torch').graph
    assert 'ata_mm' not in str(graph)


def test_averaging_is_exported(tiny_config, exported, tmp_path):
    temporal = dict(_delete_=True, type='TemporalAveraging')
    cfg = load_config(tiny_config, {'model.backbone.temporal': temporal})
    path = str(tmp_path / 'averaging.pth')
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict()), path)
    exported(VideoRecognizer(cfg, path, 'cpu'), 'torch')


def test_a_full_disk_leaves_the_previous_file(build, tmp_path):
    recognizer, path = build(), tmp_path / 'm.pt2'
    clips = example_clips(recognizer)
    path.write_bytes(b'previous')
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        with pytest.raises(OSError, match='too large'):
            export(recognizer, str(path), 'torch', clips)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b'previous'
    assert os.listdir(tmp_path) == ['m.pt2']


def test_scores_of_a_recognizer_2d(build_2d, exported, video_root):
    options = dict(average_clips='prob', num_classes=2, in_channels=512)
    recognizer = build_2d(
        backbone=TSM,
        neck=None,
        cls_head=dict(type='TSMHead', num_segments=4, **options),
    )
    frames = recognizer.read(video_root / '0.mp4')['inputs']
    with torch.no_grad():
        scores = ClipClassifier(recognizer.model)(frames.unflatten(0, (3, 4)))
    torch.testing.assert_close(
        scores.mean(0), recognizer.scores(video_root / '0.mp4')
    )
    exported(recognizer, 'torch')


def test_a_recognizer_2d_is_exported_with_its_neck(build_2d, exported):
    assert 'ata_mm.solve_lap' in str(exported(build_2d(), 'torch').graph)


def test_clips_of_a_recognizer_2d_are_segments(build_2d):
    assert example_clips(build_2d()).shape == (2, 4, 3, 64, 64)


def test_a_fully_convolutional_test_is_refused(build_2d):
    recognizer = build_2d(test_cfg=dict(fcn_test=True))
    with pytest.raises(ValueError, match='without fcn_test'):
        ClipClassifier(recognizer.model)


def test_other_names_than_pt2_are_refused(build, tmp_path):
    recognizer = build()
    with pytest.raises(ValueError, match='Expected a file .pt2'):
        export(recognizer, 'model.pth', 'torch', torch.empty(0))


@pytest.mark.parametrize('matcher', ['SinkhornMatcher', 'DisplacementMatcher'])
def test_onnx_takes_soft_matchers(build, matcher):
    pytest.importorskip('onnxscript')
    pytest.importorskip('onnxruntime')
    check_onnx(build(matcher=matcher).model)


@pytest.mark.parametrize('matcher', ['auto', 'LocalMatcher'])
def test_onnx_refuses_one_to_one_matchers(build, matcher):
    with pytest.raises(
        ValueError, match='Expected .* SinkhornMatcher, Displacement.* got '
    ):
        check_onnx(build(matcher=matcher).model)


@pytest.mark.slow
@pytest.mark.parametrize(
    'options',
    [
        dict(type='TemporalAttention'),
        dict(matcher='DisplacementMatcher'),
        dict(matcher=dict(type='SinkhornMatcher', num_iters=3)),
    ],
    ids=str,
)
def test_onnx_runtime_gives_the_same_scores(build, exported, options):
    pytest.importorskip('onnxscript')
    pytest.importorskip('onnxruntime')
    exported(build(**options), 'onnx')


@pytest.mark.slow
def test_onnx_runtime_runs_a_recognizer_2d(build_2d, exported):
    pytest.importorskip('onnxscript')
    pytest.importorskip('onnxruntime')
    matcher = dict(type='SinkhornMatcher', num_iters=3)
    temporal = dict(type='ATA', matcher=matcher)
    neck = dict(embed_dims=512, num_segments=4, temporal=temporal)
    exported(build_2d(neck=dict(type='ATANeck', **neck)), 'onnx')
