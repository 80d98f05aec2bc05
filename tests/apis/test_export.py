# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from ata_mm.apis import VideoRecognizer, load_config
from ata_mm.apis.export import (
    ClipClassifier,
    check_onnx,
    example_clips,
    export,
    load,
)


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


def test_scores_of_views_are_those_of_the_recognizer(build, video_root):
    recognizer = build()
    sample = recognizer.read(video_root / '0.mp4')
    with torch.no_grad():
        scores = ClipClassifier(recognizer.model)(sample['inputs']).mean(0)
    torch.testing.assert_close(scores, recognizer.score(sample))


def test_examples_are_clips_of_the_pipeline(build):
    clips = example_clips(build())
    assert clips.shape == (2, 3, 4, 32, 32) and clips.dtype == torch.uint8


def test_an_exact_matching_is_an_operator_of_the_file(build, tmp_path):
    recognizer = build()
    path, clips = str(tmp_path / 'model.pt2'), example_clips(recognizer)
    model = export(recognizer, path, 'torch', clips)
    loaded = load(path, 'torch')
    assert 'ata_mm.solve_lap' in str(loaded.graph)
    more = torch.cat([clips, clips[:1]])  # any number of clips
    with torch.no_grad():
        assert torch.equal(loaded(more), model(more))


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
def test_onnx_runtime_gives_the_same_scores(build, tmp_path, options):
    pytest.importorskip('onnxscript')
    pytest.importorskip('onnxruntime')
    recognizer = build(**options)
    path, clips = str(tmp_path / 'model.onnx'), example_clips(recognizer)
    model = export(recognizer, path, 'onnx', clips)
    more = torch.cat([clips, clips[:1]])
    with torch.no_grad():
        torch.testing.assert_close(load(path, 'onnx')(more), model(more))
