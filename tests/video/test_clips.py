# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import cv2
import numpy as np
import pytest
import torch

from ata_mm.apis import load_config
from ata_mm.video import patchify, read_clip, read_view


@pytest.fixture(scope='module')
def cfg(tiny_config):
    return load_config(tiny_config)


@pytest.mark.parametrize('view', [0, 1, 2])
def test_pictures_show_what_the_model_takes(view, cfg, video_root):
    clip = read_view(str(video_root / '0.mp4'), cfg, view)
    assert clip.inputs.shape == (1, 3, 4, 32, 32)
    for frame, small in zip(clip.frames, clip.inputs[0].movedim(0, -1)):
        assert frame.shape == (448, 448, 3)
        shrunk = cv2.resize(frame, (32, 32), interpolation=cv2.INTER_AREA)
        pair = [np.float32(image).mean(-1) for image in (shrunk, small)]
        shift, certainty = cv2.phaseCorrelate(*pair)
        assert np.abs(shift).max() < 2 and certainty > 0.3  # pixels


def test_middle_view_is_the_default(cfg, video_root):
    """Of ThreeCrop's left, right and middle."""
    video = str(video_root / '0.mp4')
    middle = read_view(video, cfg, 2).inputs
    assert torch.equal(read_view(video, cfg).inputs, middle)


def test_middle_view_of_ten_crops_is_not_flipped(tiny_config, video_root):
    views = []
    for kind in ('TenCrop', 'CenterCrop'):
        cfg = load_config(tiny_config)
        for step in cfg.test_dataloader.dataset.pipeline:
            if step['type'] == 'ThreeCrop':  # of 32 x 43 pixels
                step.update(type=kind, crop_size=27)
        views.append(read_view(str(video_root / '0.mp4'), cfg).inputs)
    assert torch.equal(*views)


def test_numbers_of_the_frames(cfg, video_root):
    clip = read_view(str(video_root / '0.mp4'), cfg)
    assert np.diff(clip.numbers).tolist() == [2, 2, 2]
    assert clip.labels[0] == f'frame {clip.numbers[0]}'


def test_frames_of_a_2d_recognizer(tiny_config, video_root):
    cfg = load_config(tiny_config)
    sample, *rest = cfg.test_pipeline[1:]
    sample.update(clip_len=1, num_clips=4)
    rest[-2].input_format = 'NCHW'
    cfg.test_dataloader.dataset.pipeline = [
        cfg.test_pipeline[0],
        sample,
        *rest,
    ]
    clip = read_view(str(video_root / '0.mp4'), cfg, 2)
    assert clip.inputs.shape == (4, 3, 32, 32)
    assert len(clip.frames) == len(clip.numbers) == 4


@pytest.mark.parametrize('view, first', [(0, 1.25), (1, 0.0)])
def test_clips_of_a_2d_recognizer_have_the_segments_of_the_neck(
    view, first, tiny_config, video_root
):
    cfg = load_config(tiny_config)
    cfg.model.neck = dict(type='ATANeck', num_segments=8)
    sample, *rest = cfg.test_pipeline[1:]
    sample.update(clip_len=1, num_clips=8, twice_sample=True)
    rest[-2].input_format = 'NCHW'
    cfg.test_dataloader.dataset.pipeline = [
        cfg.test_pipeline[0],
        sample,
        *rest,
    ]
    clip = read_view(str(video_root / '0.mp4'), cfg, view)  # of 20 frames
    assert len(clip.frames) == len(clip.inputs) == 8
    expected = (first + 2.5 * np.arange(8)).astype(int)
    assert clip.numbers == expected.tolist()


def test_view_out_of_range(cfg, video_root):
    with pytest.raises(ValueError, match='a view from 0 to 2, .* got 3'):
        read_view(str(video_root / '0.mp4'), cfg, 3)


def test_pictures_are_cut_into_square_patches(video_root):
    clip, grid = read_clip(str(video_root / '0.mp4'), 5, 2, rows=6)
    assert len(clip.frames) == 5 and grid == (6, 8)
    height, width = clip.frames[0].shape[:2]
    assert height / 6 == width / 8
    assert np.diff(clip.numbers).tolist() == [2] * 4


def test_frames_are_those_of_the_middle(write_video, tmp_path):
    write_video(tmp_path / 'a.mp4', num_frames=29)
    clip, _ = read_clip(str(tmp_path / 'a.mp4'), 5, 2)
    assert clip.numbers == [10, 12, 14, 16, 18]


def test_short_video_is_not_overrun(write_video, tmp_path):
    write_video(tmp_path / 'a.mp4', num_frames=8)
    clip, _ = read_clip(str(tmp_path / 'a.mp4'), 8)
    assert clip.numbers == list(range(8))


@pytest.mark.parametrize('lead', [(), (2, 3)])
def test_patches_are_squares_of_the_frame(lead):
    frames = torch.rand(*lead, 6, 8, 3)
    patches = patchify(frames, 2)
    assert patches.shape == (*lead, 12, 12)
    row, column = 1, 3
    expected = frames[..., 2:4, 6:8, :]
    assert torch.equal(patches[..., row * 4 + column, :], expected.flatten(-3))


@pytest.mark.parametrize('size', [(6, 9), (9, 6)])
def test_side_that_does_not_divide_the_frame(size):
    with pytest.raises(ValueError, match=r'divides .*, \d x \d, got 2'):
        patchify(torch.zeros(1, *size, 3), 2)


@pytest.mark.parametrize('kept', [100, 2000])
def test_broken_video(kept, video_root, tmp_path):
    path = tmp_path / 'broken.mp4'
    path.write_bytes((video_root / '0.mp4').read_bytes()[:kept])
    with pytest.raises(ValueError, match='broken.mp4 '):
        read_clip(str(path))
