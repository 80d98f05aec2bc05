# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import os

import numpy as np
import pytest

from ata_mm.video import FrameSource, VideoWriter, open_video, write_video

RED = np.full((48, 64, 3), (200, 30, 30), np.uint8)


def noise(number):
    state = np.random.RandomState(0)
    return state.randint(0, 255, (number, 48, 64, 3), np.uint8)


def read(path):
    """Frames of a file, (T, H, W, 3)."""
    with open_video(str(path)) as reader:
        return np.stack(reader.frames(range(len(reader))))


@pytest.mark.parametrize('codec', ['mp4v', 'MJPG'])
def test_frames_come_back_as_rgb(tmp_path, codec):
    write_video(tmp_path / 'a.mp4', [RED] * 5, fps=10, codec=codec)
    frames = read(tmp_path / 'a.mp4')
    assert frames.shape == (5, 48, 64, 3)
    assert np.abs(frames.mean((0, 1, 2)) - RED[0, 0]).max() < 8


def test_frame_rate_is_written(tmp_path):
    write_video(tmp_path / 'a.mp4', [RED], fps=12.5)
    with FrameSource(str(tmp_path / 'a.mp4')) as source:
        assert source.fps == 12.5


def read_back(path, fps):
    """Frame rate and duration of a file of ten frames."""
    write_video(path, [RED] * 10, fps)
    with FrameSource(str(path)) as source:
        for _ in source:
            pass
        return source.fps, source.span[1]


@pytest.mark.parametrize(
    'fps', [66.123, 100.123, 119.9567, 239.873, 999.77, 6553.55]
)
def test_rates_that_mpeg4_cannot_store_are_rounded(tmp_path, fps):
    rate, duration = read_back(tmp_path / 'a.mp4', fps)
    assert rate == pytest.approx(fps, rel=2e-5)
    assert duration == pytest.approx(10 / fps, rel=2e-5, abs=1e-4)


@pytest.mark.parametrize('fps', [0.5, 23.976, 59.94, 119.88, 655.36, 1000])
def test_rates_that_mpeg4_can_store_are_kept(tmp_path, fps):
    assert read_back(tmp_path / 'a.mp4', fps)[0] == fps


def test_motion_jpeg_is_silent(tmp_path, capfd):
    write_video(tmp_path / 'a.mp4', [RED], fps=10, codec='MJPG')
    assert capfd.readouterr() == ('', '')


def test_frames_may_be_generated(tmp_path):
    write_video(tmp_path / 'a.mp4', (RED for _ in range(3)), fps=10)
    assert len(read(tmp_path / 'a.mp4')) == 3


def test_file_is_complete_after_an_error(tmp_path):
    with (
        pytest.raises(KeyboardInterrupt),
        VideoWriter(tmp_path / 'a.mp4', 10, (64, 48)) as out,
    ):
        out.write(RED)
        raise KeyboardInterrupt
    assert len(read(tmp_path / 'a.mp4')) == 1


def test_frame_of_another_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'\(48, 64, 3\), got \(48, 32, 3\)'):
        write_video(tmp_path / 'a.mp4', [RED, RED[:, :32]], fps=10)


def test_video_without_frames_is_refused(tmp_path):
    with pytest.raises(ValueError, match='at least one frame'):
        write_video(tmp_path / 'a.mp4', [], fps=10)


def test_rate_that_mp4_does_not_support(tmp_path):
    with pytest.raises(ValueError, match='at 90000 frames per second'):
        VideoWriter(tmp_path / 'a.mp4', 90000.0, (64, 48))


def test_path_that_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match=f'{tmp_path} cannot be written'):
        VideoWriter(tmp_path, 10, (64, 48))


def test_name_that_is_not_utf8_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"got '.*/caf\\udce9.mp4'"):
        write_video(os.fsdecode(bytes(tmp_path) + b'/caf\xe9.mp4'), [RED], 10)


@pytest.mark.parametrize('suffix', ['mp4', 'ts'])
def test_a_name_with_a_colon_is_no_protocol(tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(tmp_path)
    write_video(f'a:b.{suffix}', [RED], fps=10)
    assert len(read(tmp_path / f'a:b.{suffix}')) == 1


@pytest.mark.parametrize('suffix', ['avi', 'mkv', 'mov', 'mpg', 'ts'])
def test_other_containers(tmp_path, suffix):
    write_video(tmp_path / f'a.{suffix}', noise(5), fps=25)
    assert len(read(tmp_path / f'a.{suffix}')) == 5


@pytest.mark.parametrize('suffix', ['mpg', 'ts'])
def test_a_full_disk_of_a_container_that_declares_no_size(
    tmp_path, full_disk, suffix
):
    path = tmp_path / f'a.{suffix}'
    with full_disk(8000), pytest.raises(OSError, match=path.name):
        write_video(path, noise(9), 25)
    assert not path.exists()


@pytest.mark.parametrize('codec', ['mp4v', 'MJPG'])
@pytest.mark.parametrize('share', [0.0, 0.5, 0.99])
def test_a_full_disk_leaves_no_half_of_a_video(
    tmp_path, full_disk, codec, share
):
    frames = noise(9)
    whole, path = tmp_path / 'whole.mp4', tmp_path / 'a.mp4'
    write_video(whole, frames, 10, codec)
    limit = full_disk(int(share * whole.stat().st_size))
    with limit, pytest.raises((OSError, ValueError), match='a.mp4'):
        write_video(path, frames, 10, codec)
    assert not path.exists()


def test_an_error_on_a_full_disk_is_not_hidden(tmp_path, full_disk):
    with (
        pytest.raises(KeyboardInterrupt),
        full_disk(100),
        VideoWriter(tmp_path / 'a.mp4', 10, (64, 48)) as out,
    ):
        out.write(RED)
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
