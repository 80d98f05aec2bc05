# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import cv2
import numpy as np
import pytest

from ata_mm.visualization.captions import OverlayWriter, draw_caption, lay_over

PREDICTIONS = [('pan left', 0.75), ('pan right', 0.25)]


def write(path, frames, size=(48, 64)):
    with OverlayWriter(str(path), fps=10) as out:
        for _ in range(frames):
            out.write(np.full((*size, 3), 255, np.uint8), PREDICTIONS)


def test_every_frame_is_written(tmp_path):
    write(tmp_path / 'deep' / 'out.mp4', frames=7)
    video = cv2.VideoCapture(str(tmp_path / 'deep' / 'out.mp4'))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 7
    assert video.get(cv2.CAP_PROP_FPS) == 10


@pytest.mark.parametrize(
    'size, written',
    [
        ((48, 64), (336, 448)),
        ((480, 640), (480, 640)),
        ((481, 641), (480, 640)),
    ],
)
def test_small_videos_are_enlarged_to_even_sides(tmp_path, size, written):
    write(tmp_path / 'out.mp4', 1, size)
    _, frame = cv2.VideoCapture(str(tmp_path / 'out.mp4')).read()
    assert frame.shape == (*written, 3)


def test_file_is_complete_after_an_error(tmp_path):
    with (
        pytest.raises(KeyboardInterrupt),
        OverlayWriter(str(tmp_path / 'out.mp4'), fps=10) as out,
    ):
        out.write(np.zeros((48, 64, 3), np.uint8), PREDICTIONS)
        raise KeyboardInterrupt
    decoded, _ = cv2.VideoCapture(str(tmp_path / 'out.mp4')).read()
    assert decoded


def test_frame_given_is_left_as_it_was(tmp_path):
    frame = np.full((480, 640, 3), 255, np.uint8)
    with OverlayWriter(str(tmp_path / 'out.mp4'), fps=10) as out:
        out.write(frame, PREDICTIONS)
    assert (frame == 255).all()


def test_path_that_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match='cannot be written'):
        write(tmp_path, frames=1)  # a directory


def test_bars_are_as_long_as_the_scores():
    caption = draw_caption((240, 320), PREDICTIONS)
    blue = caption[..., 2] == 200  # the bars alone
    first, second = np.array_split(blue, 2)
    ends = [
        np.nonzero(half)[1].max() / blue.shape[1] for half in (first, second)
    ]
    assert ends == pytest.approx([0.75, 0.25], abs=0.02)


@pytest.mark.parametrize('size', [(24, 24), (240, 320)])
def test_caption_fits_into_the_frame(size):
    predictions = [('a label that goes on and on' * 3, 0.1)] * 20
    height, width = draw_caption(size, predictions).shape[:2]
    assert height <= size[0] and width <= size[1]


def test_caption_covers_its_corner_alone():
    frame = np.full((240, 320, 3), 255, np.uint8)
    caption = draw_caption((240, 320), PREDICTIONS)
    lay_over(frame, caption)
    height, width = caption.shape[:2]
    assert (frame[:height, :width].min(axis=-1) < 255).any()
    assert (frame[height:] == 255).all() and (frame[:, width:] == 255).all()


def test_frames_of_another_size_are_written(tmp_path):
    """Those of a stream that changes its resolution."""
    path = tmp_path / 'out.mp4'
    with OverlayWriter(str(path), fps=10) as out:
        for width in (64, 64, 96, 96, 96):
            out.write(np.full((48, width, 3), 255, np.uint8), PREDICTIONS)
    video = cv2.VideoCapture(str(path))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 5
