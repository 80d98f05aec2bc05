# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import os
import signal
import time

import pytest
import torch
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from ata_mm.apis import VideoRecognizer, predict_videos


@pytest.fixture(scope='module')
def recognizer(tiny_config, checkpoint):
    return VideoRecognizer(tiny_config, str(checkpoint), device='cpu')


@pytest.fixture
def videos(video_root):
    return [str(video_root / f'{i}.mp4') for i in range(4)]


@pytest.mark.parametrize('batch, workers', [(1, 1), (9, 2), (100, 3)])
def test_scores_are_those_of_one_video_at_a_time(
    recognizer, videos, batch, workers
):
    outcomes = list(predict_videos(recognizer, videos, batch, workers))
    assert [outcome.item for outcome in outcomes] == videos
    for outcome in outcomes:
        torch.testing.assert_close(
            outcome.get(), recognizer.scores(outcome.item), rtol=0, atol=1e-6
        )


def test_a_batch_holds_whole_videos(recognizer, videos, monkeypatch):
    sizes = []
    score_each = recognizer.score_each

    def count(samples):
        sizes.append(len(samples))
        return score_each(samples)

    monkeypatch.setattr(recognizer, 'score_each', count)
    list(predict_videos(recognizer, videos, batch=10))  # of three views each
    assert sizes == [3, 1]


def test_errors_take_their_place_in_a_batch(recognizer, videos, tmp_path):
    names = [videos[0], str(tmp_path / 'none.mp4'), videos[1]]
    first, bad, second = predict_videos(recognizer, names, batch=9)
    assert isinstance(bad.error, FileNotFoundError)
    assert torch.equal(second.get(), recognizer.scores(videos[1]))


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def slow():
    time.sleep(60)


def stuck():
    """Hang as a decoder that no signal interrupts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    time.sleep(60)


@pytest.mark.parametrize(
    'fate, reason',
    [
        (killed, r'was being read when its process was killed \(SIGKILL\)'),
        (slow, 'was not read within 0.5 s'),
        (stuck, 'was not read within 0.5 s'),
    ],
)
def test_death_costs_one_video(
    recognizer, videos, monkeypatch, tmp_path, fate, reason
):
    read = recognizer.read
    bad = str(tmp_path / 'bad.mp4')
    monkeypatch.setattr(
        recognizer, 'read', lambda v: fate() if v == bad else read(v)
    )
    monkeypatch.setattr('ata_mm.engine.bad_videos._GRACE', 0.1)
    # Look for dead workers more often than every 5 s.
    look = _MultiProcessingDataLoaderIter._try_get_data
    monkeypatch.setattr(look, '__defaults__', (0.2,))
    names = [videos[1], bad, *videos[2:]]
    outcomes = list(
        predict_videos(recognizer, names, batch=6, workers=2, time_limit=0.5)
    )
    assert [outcome.item for outcome in outcomes] == names
    with pytest.raises(ValueError, match=f'bad.mp4 {reason}'):
        outcomes.pop(1).get()
    assert all(len(outcome.get()) == 2 for outcome in outcomes)


def test_short_videos_are_warned_of(recognizer, write_video, tmp_path):
    write_video(tmp_path / 'short.mp4', num_frames=6)
    names = [str(tmp_path / 'short.mp4')]
    with pytest.warns(UserWarning, match='short.mp4 has 6 frames'):
        list(predict_videos(recognizer, names))
