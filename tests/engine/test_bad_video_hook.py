# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""The runs themselves are tested in tests/tools/test_train.py."""

import os
import signal

import pytest
from mmaction.datasets import RepeatAugDataset, repeat_pseudo_collate
from mmaction.registry import DATASETS
from mmengine.dataset import BaseDataset
from mmengine.runner.runner import _SlicedDataset
from torch.utils.data import DataLoader

from ata_mm.engine import BadVideoHook
from ata_mm.engine.bad_video_hook import _leaves
from ata_mm.engine.bad_videos import SHORT
from ata_mm.video import VideoError


class Data:
    """A data set, or a wrapper of others."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)


@pytest.mark.parametrize('options', [dict(limit=2), dict(time_limit=0)])
def test_options_out_of_range(options):
    with pytest.raises(ValueError, match='a limit in 0..1 and a positive'):
        BadVideoHook(**options)


def test_wrapped_data_sets_are_found():
    first, second = Data(pipeline=1), Data(pipeline=2)
    wrapped = Data(datasets=[Data(dataset=first, pipeline=3), second])
    assert list(_leaves(wrapped)) == [first, second]


def test_the_data_set_of_some_batches_an_epoch_is_found():
    dataset = Data(pipeline=1)
    assert list(_leaves(_SlicedDataset(dataset, 4))) == [dataset]


def die_at_junk(results):
    """Transform that ends the process, as decoders do, at one video."""
    if 'junk' in results['filename']:
        os.kill(os.getpid(), signal.SIGSEGV)
    return results


@pytest.fixture
def load(video_root, tmp_path):
    """Guard a RepeatAugDataset of two good videos and another one."""

    def load(name, *transforms, skip=True, workers=0):
        lines = [f'{video_root}/0.mp4 0', f'{tmp_path}/{name} 1']
        lines.append(f'{video_root}/1.mp4 1')
        (tmp_path / 'list.txt').write_text('\n'.join(lines) + '\n')
        dataset = RepeatAugDataset(
            str(tmp_path / 'list.txt'),
            [
                dict(type='DecordInit'),
                dict(type='SampleFrames', clip_len=4, frame_interval=2),
                dict(type='DecordDecode'),
                *transforms,
                dict(type='FormatShape', input_format='NCTHW'),
                dict(type='PackActionInputs'),
            ],
            num_repeats=2,
        )
        loader = DataLoader(
            dataset, num_workers=workers, collate_fn=repeat_pseudo_collate
        )
        path = str(tmp_path / 'bad_videos.jsonl')
        return BadVideoHook()._guard(loader, path, 1, skip)

    return load


@pytest.mark.parametrize('workers', [0, 2])
def test_a_repeated_video_that_cannot_be_read_is_skipped(
    load, tmp_path, workers
):
    (tmp_path / 'junk.mp4').write_bytes(b'junk' * 100)
    loader = load('junk.mp4', workers=workers)
    assert [len(batch['inputs']) for batch in loader] == [2, 2, 2]
    loader.journal.update()
    (note,) = loader.journal.skipped()
    assert 'junk.mp4 cannot be decoded' in note.reason


def test_a_repeated_video_that_cannot_be_read_ends_a_validation(
    load, tmp_path
):
    (tmp_path / 'junk.mp4').write_bytes(b'junk' * 100)
    with pytest.raises(VideoError, match=r'junk\.mp4 cannot be decoded'):
        list(load('junk.mp4', skip=False))


def test_a_repeated_video_that_kills_its_worker_is_skipped(
    load, tmp_path, write_video
):
    write_video(tmp_path / 'junk.mp4')
    loader = load('junk.mp4', die_at_junk, workers=1)
    assert len(list(loader)) == 3
    (note,) = loader.journal.skipped()
    assert 'junk.mp4 stops the decoder (SIGSEGV)' in note.reason


def test_a_repeated_video_that_is_short_is_named(load, tmp_path, write_video):
    write_video(tmp_path / 'short.mp4', num_frames=3)
    loader = load('short.mp4')
    assert len(list(loader)) == 3
    (note,) = loader.journal.notes.values()
    assert note.kind == SHORT and 'short.mp4 has 3 frames' in note.reason


def test_other_data_sets_call_their_pipeline():
    own = [
        kind.__name__
        for kind in DATASETS.module_dict.values()
        if kind.__module__.startswith('mmaction.')
        and issubclass(kind, BaseDataset)
        and kind.prepare_data is not BaseDataset.prepare_data
    ]
    assert own == ['RepeatAugDataset']
