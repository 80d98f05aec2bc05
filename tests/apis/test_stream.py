# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
import torch
from mmaction.apis import init_recognizer

from ata_mm.apis import StreamRecognizer, VideoRecognizer, load_config
from ata_mm.models import ATA, TemporalAttention
from ata_mm.video import FrameSource
from ata_mm.video.pipeline import set_views

BACKBONE = dict(
    _delete_=True,
    type='ATABackbone',
    image_backbone=dict(type='ResNet', depth=18, norm_cfg=dict(type='BN')),
    blocks='layer2.*',
    num_frames=4,
    img_size=32,
    temporal=dict(type='ATA', zero_init=False),
)


@pytest.fixture(scope='module')
def frames(video_root):
    with FrameSource(str(video_root / '0.mp4')) as source:
        return list(source)  # 20


@pytest.fixture
def build(tiny_config, checkpoint):
    """Build the trained recognizer, with options, its temporal branch made
    large enough for routes to matter."""

    def _build(**options):
        cfg = load_config(
            tiny_config,
            {f'model.backbone.{key}': value for key, value in options.items()},
        )
        recognizer = VideoRecognizer(cfg, str(checkpoint), 'cpu')
        torch.manual_seed(0)
        for module in recognizer.model.modules():
            if isinstance(module, TemporalAttention):
                torch.nn.init.xavier_uniform_(module.temporal_fc.weight)
        return recognizer

    return _build


@pytest.fixture
def image_model(tiny_config, tmp_path):
    """ATA in a ResNet, which has no time embedding."""
    cfg = load_config(tiny_config, {'model.backbone': BACKBONE})
    cfg.model.cls_head = dict(
        type='I3DHead', num_classes=2, in_channels=512, average_clips='prob'
    )
    model = init_recognizer(cfg, device='cpu')
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'model.pth')
    return VideoRecognizer(cfg, str(tmp_path / 'model.pth'), 'cpu')


def scores(stream, frames):
    """Scores of both classes in each window."""
    return [sorted(prediction.labels) for prediction in stream(frames)]


def test_windows_slide_by_the_stride(build, frames):
    stream = StreamRecognizer(build(), stride=4)
    windows = [(first, last) for first, last, _ in stream(frames)]
    assert windows == [(0, 6), (4, 10), (8, 14), (12, 18)]


def test_scores_are_those_of_a_video_recognizer(build, frames, video_root):
    recognizer = build()
    windows = list(StreamRecognizer(recognizer, stride=2)(frames))
    # Of the 20 frames, the test pipeline takes the clip in the middle.
    assert (windows[3].first, windows[3].last) == (6, 12)
    assert windows[3].labels == recognizer(video_root / '0.mp4')


@pytest.mark.parametrize('window, last', [(4, 3), (8, 6), (16, 12), (18, 12)])
def test_frames_are_spread_over_the_window(build, frames, window, last):
    stream = StreamRecognizer(build(), window=window)
    assert next(stream(frames)).last == last


def test_stride_is_half_a_window(build):
    assert StreamRecognizer(build(), window=16).stride == 8


def test_only_frames_of_the_window_are_kept(build, frames):
    stream = StreamRecognizer(build(), stride=3)
    for frame in frames * 3:
        stream.push(frame)
        assert len(stream._crops) <= 7


def test_frames_between_windows_are_not_prepared(build, frames):
    stream = StreamRecognizer(build(), window=4, stride=10)
    seen = [stream.push(frame) is not None for frame in frames]
    assert np.flatnonzero(seen).tolist() == [3, 13]
    assert not stream._crops


def test_frame_may_change_after_it_was_pushed(build, frames):
    recognizer, buffer = build(), np.empty_like(frames[0])

    def reused():
        for frame in frames:
            buffer[:] = frame
            yield buffer

    stream = StreamRecognizer(recognizer)
    assert scores(stream, reused()) == scores(stream, frames)


@pytest.mark.filterwarnings('ignore:The video has 5 frames')
def test_short_video_is_one_window(build, frames):
    windows = list(StreamRecognizer(build())(frames[:5]))
    assert [(first, last) for first, last, _ in windows] == [(0, 4)]


@pytest.mark.parametrize(
    'number, expected', [(3, [0, 0, 1, 2]), (10, [0, 3, 6, 9])]
)
def test_the_clip_of_a_window_is_spread_over_a_shorter_video(
    build, frames, number, expected, monkeypatch
):
    stream = StreamRecognizer(build(), window=16)
    monkeypatch.setattr(stream, '_predict', lambda window: window)
    with pytest.warns(UserWarning, match='The clip is spread over them'):
        assert list(stream(frames[:number])) == [expected]


@pytest.mark.parametrize('stride', [3, 4])
def test_short_video_has_the_frames_of_the_pipeline(
    build, write_video, tmp_path, stride
):
    recognizer, video = build(), tmp_path / 'short.mp4'
    write_video(video, num_frames=5)
    warning = pytest.warns(UserWarning, match='5 frames, fewer than the 7')
    with FrameSource(str(video)) as source, warning:
        (window,) = StreamRecognizer(recognizer, stride=stride)(source)
    assert window.labels == recognizer(video)


def test_no_frames(build):
    with pytest.raises(ValueError, match='Expected frames, got none'):
        list(StreamRecognizer(build())([]))


def test_frames_must_be_rgb(build):
    with pytest.raises(ValueError, match=r'got float64 of \(48, 64\)'):
        StreamRecognizer(build()).push(np.zeros((48, 64)))


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(window=3), 'window of 4 frames or more'),
        (dict(stride=0), 'stride of 1 frame or more'),
    ],
)
def test_too_short(build, options, message):
    with pytest.raises(ValueError, match=message):
        StreamRecognizer(build(), **options)


def test_clip_over_the_whole_video_needs_a_window(build, frames):
    recognizer = build()
    recognizer.cfg.test_dataloader.dataset.pipeline[1] = dict(
        type='UniformSample', clip_len=4, test_mode=True
    )
    with pytest.raises(ValueError, match='the length of a window'):
        StreamRecognizer(recognizer)
    assert len(list(StreamRecognizer(recognizer, window=10)(frames))) == 4


@pytest.mark.parametrize('stride', [2, 4])
def test_content_is_matched_once_within_rounding(build, frames, stride):
    recognizer = build(**{'temporal.match_on': 'content'})
    cached, plain = (
        StreamRecognizer(recognizer, stride=stride, reuse_tolerance=tolerance)
        for tolerance in (1e-5, None)
    )
    assert scores(cached, frames) == scores(plain, frames)
    windows = len(range(0, 14, stride))
    assert cached.cache.reused == (windows - 1) * (3 - stride // 2)


def test_image_model_matches_once(image_model, frames):
    cached, plain = (
        StreamRecognizer(image_model, stride=2, reuse_tolerance=tolerance)
        for tolerance in (0.0, None)
    )
    assert scores(cached, frames) == scores(plain, frames)
    assert (cached.cache.solved, cached.cache.reused) == (3 + 6, 2 * 6)


@pytest.mark.parametrize('views, reused', [(None, 12), (3, 12), (2, 0)])
def test_crops_that_run_one_after_the_other_reuse_nothing(
    image_model, frames, views, reused
):
    image_model.model.test_cfg = dict(max_testing_views=views)
    set_views(image_model.cfg, crops=3, clips=1)
    stream = StreamRecognizer(image_model, stride=2)
    list(stream(frames))
    assert stream.cache.reused == reused
    assert ('max_testing_views=2' in stream.describe()) == (not reused)


def test_blocks_that_share_routes_share_the_cache(build, frames):
    recognizer = build(
        **{'temporal.match_on': 'content', 'temporal.share_alignment': 'stage'}
    )
    stream = StreamRecognizer(recognizer, stride=2, reuse_tolerance=1e-5)
    plain = StreamRecognizer(recognizer, stride=2, reuse_tolerance=None)
    assert scores(stream, frames) == scores(plain, frames)
    assert stream.cache.reused == 12


def test_time_embedding_in_the_tokens_leaves_nothing_to_reuse(build, frames):
    recognizer = build()
    cached, plain = (
        StreamRecognizer(recognizer, stride=2, reuse_tolerance=tolerance)
        for tolerance in (1e-5, None)
    )
    assert scores(cached, frames) == scores(plain, frames)
    assert cached.cache.reused == 0
    assert 'by the time embedding' in cached.report()


def test_streams_share_a_model(image_model, frames):
    recognizer = image_model
    alone = scores(StreamRecognizer(recognizer, stride=2), frames)
    one, other = (StreamRecognizer(recognizer, stride=2) for _ in range(2))
    found = []
    for frame, reverse in zip(frames, reversed(frames)):
        found.append(one.push(frame))
        other.push(reverse)
    assert [sorted(p.labels) for p in found if p] == alone
    assert all(
        m.aligner.cache is None
        for m in recognizer.model.modules()
        if isinstance(m, ATA)
    )


@pytest.mark.parametrize(
    'stride, options, reason',
    [
        (
            3,
            {},
            'the stride of 3 frames is no multiple of the frame interval, 2',
        ),
        (6, {}, 'windows share no frame pair'),
        (
            2,
            dict(temporal_blocks=[1]),
            'TemporalAttention mixes frames before',
        ),
    ],
)
def test_describes_why_nothing_is_reused(build, stride, options, reason):
    stream = StreamRecognizer(build(**options), stride=stride)
    assert f'no matching is reused: {reason}' in stream.describe()


def test_model_without_ata_reuses_nothing(build):
    recognizer = build()
    for block in recognizer.model.backbone.blocks:
        block.temporal = torch.nn.Identity()
    assert StreamRecognizer(recognizer).no_reuse == 'the model has no ATA'


@pytest.mark.parametrize('reference, reused', [(1, True), ('first', False)])
def test_reuse_needs_matches_to_the_previous_frame(build, reference, reused):
    recognizer = build(**{'temporal.reference': reference})
    stream = StreamRecognizer(recognizer, window=4, stride=1)
    assert (stream.no_reuse == '') == reused
    assert reused or 'where the window starts' in stream.describe()


@pytest.fixture
def growing(frames):
    """Frames of a stream that changes its resolution."""
    return frames[:6] + [np.repeat(f, 2, axis=1) for f in frames[6:12]]


def test_a_change_of_the_resolution_loses_no_window(build, growing):
    stream = StreamRecognizer(build(), window=4, stride=2)
    assert [p.last for p in stream(growing)] == [3, 5, 7, 9, 11]


def test_crops_of_different_sizes_are_an_error(build, growing):
    recognizer = build()
    steps = recognizer.cfg.test_dataloader.dataset.pipeline
    steps[:] = [step for step in steps if step.type != 'ThreeCrop']
    stream = StreamRecognizer(recognizer, window=4, stride=2)
    with pytest.raises(ValueError, match='resolution of the stream has'):
        list(stream(growing[4:]))  # the first window has both sizes
