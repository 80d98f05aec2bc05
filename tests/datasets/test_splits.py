# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import os
from collections import Counter

import pytest

from ata_mm.datasets.own_videos import (
    SPLITS,
    OwnVideo,
    OwnVideos,
    read_own_videos,
)
from ata_mm.datasets.splits import split_videos, write_lists


def made(names, classes=2):
    """Videos of these names in each class."""
    return OwnVideos(
        '/',
        [f'class {i}' for i in range(classes)],
        [
            OwnVideo(f'{i}/{name}.mp4', i)
            for i in range(classes)
            for name in names(i)
        ],
    )


def test_every_class_has_its_share_of_validation():
    found = made(lambda label: [f'{n}' for n in range(10 * (label + 1))])
    videos, recordings, torn = split_videos(found, 0.2, 0)
    assert recordings == 0 and not torn
    counts = Counter((v.label, v.split) for v in videos)
    assert counts[0, 'val'] == 2 and counts[1, 'val'] == 4


def test_the_split_depends_on_the_seed_alone():
    found = made(lambda _: [f'{n}' for n in range(20)])
    first, again, other = (split_videos(found, 0.3, s) for s in (0, 0, 1))
    assert first == again and first != other


@pytest.mark.parametrize(
    'template',
    [
        'v_Archery_g{:02d}_c{:02d}',
        'match{}_clip{}',
        'Match{}_Clip{}',
        'a{:010d}_{:06d}_000020',
    ],
)
def test_clips_of_a_recording_stay_together(template):
    found = made(
        lambda label: [
            template.format(10 * label + g, c)
            for g in range(5)
            for c in range(4)
        ]
    )
    videos, recordings, torn = split_videos(found, 0.2, 0)
    assert recordings == 10 and not torn
    splits = {}
    for video in videos:
        recording = video.path.rsplit('_', template.count('_0') + 1)[0]
        splits.setdefault(recording, set()).add(video.split)
    assert all(len(one) == 1 for one in splits.values())


def test_clips_of_a_class_with_one_recording_are_split():
    found = made(
        lambda label: [
            f'{label}{match}_clip{n}'
            for match in range(1 if label == 0 else 5)
            for n in range(5)
        ],
        classes=3,
    )
    videos, recordings, torn = split_videos(found, 0.2, 0)
    assert recordings == 10 and torn == ['class 0']
    counts = Counter((v.label, v.split) for v in videos)
    assert counts[0, 'val'] == 1 and counts[1, 'val'] == counts[2, 'val'] == 5
    recordings = {
        split: {
            v.path.split('_')[0]
            for v in videos
            if v.split == split and v.label > 0
        }
        for split in SPLITS
    }
    assert recordings['train'].isdisjoint(recordings['val'])


def test_a_repeated_video_ends_the_search_of_a_split():
    found = made(lambda label: 2 * 'a' if label else 'abc')
    with pytest.raises(ValueError, match='Expected videos of each class for'):
        split_videos(found, 0.2, 0)


def test_a_class_keeps_clips_to_train_if_another_has_its_recordings():
    names = ['match1_clip1', 'match1_clip2', 'match2_clip1', 'match2_clip2']
    found = made(lambda label: names[:2] if label else names)
    videos, _, torn = split_videos(found, 0.2, 0)
    assert {(v.label, v.split) for v in videos} == {
        (label, split) for label in range(2) for split in SPLITS
    }
    assert torn == ['class 1']


def test_classes_of_few_recordings_choose_first():
    found = made(
        lambda label: [
            f'match{n}_clip{label}' for n in range(2 if label else 9)
        ]
    )
    for seed in range(5):
        videos, _, torn = split_videos(found, 0.1, seed)
        counts = Counter(v.label for v in videos if v.split == 'val')
        assert counts == {0: 1, 1: 1} and not torn


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize(
    'sizes, expected',
    [((91, *9 * [1]), 9), ((50, 45, 5, 5), 10), ((60, 40), 40)],
)
def test_a_large_recording_does_not_exceed_the_share(sizes, expected, seed):
    found = made(
        lambda label: [
            f'{label}match{i}_clip{n}'
            for i, size in enumerate(sizes)
            for n in range(size)
        ]
    )
    videos, _, torn = split_videos(found, 0.2, seed)
    counts = Counter(v.label for v in videos if v.split == 'val')
    assert counts == {0: expected, 1: expected} and not torn


@pytest.mark.parametrize('share', [0.01, 0.99])
def test_two_videos_of_a_class_are_one_of_each_split(share):
    found = made(lambda _: 'ab')
    videos, *_ = split_videos(found, share, 0)
    assert Counter((v.label, v.split) for v in videos) == {
        (label, split): 1 for label in range(2) for split in SPLITS
    }


def test_lists_use_a_mark_that_no_path_has(tmp_path):
    videos = [OwnVideo('a b.mp4', 0, 'train'), OwnVideo('c.mp4', 1, 'val')]
    mark = write_lists(OwnVideos('/', ['x', 'y'], videos), videos, tmp_path)
    assert mark == ','
    assert (tmp_path / 'train.txt').read_text() == 'a b.mp4,0\n'
    assert (tmp_path / 'classes.txt').read_text() == 'x\ny\n'


def test_lists_of_paths_with_spaces_are_read_again(folder):
    (folder / 'a' / '0.mp4').rename(folder / 'a' / 'my video.mp4')
    found = read_own_videos([str(folder)])
    videos = split_videos(found, 0.5, 0).videos
    write_lists(found, videos, folder)
    again = read_own_videos([str(folder / f'{s}.txt') for s in SPLITS])
    assert again.classes == found.classes
    assert sorted(again.videos) == sorted(videos)


@pytest.mark.parametrize('mark', ['\n', '\r'])
@pytest.mark.parametrize('classes, name', [('xy', 'a{}b'), ('xy{}', 'a')])
def test_a_name_with_a_line_break_is_named(classes, name, mark, tmp_path):
    videos = [OwnVideo(name.format(mark), 0, 'train')]
    found = OwnVideos('/', ['x', classes[1:].format(mark)], videos)
    with pytest.raises(ValueError, match='without a line break'):
        write_lists(found, videos, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_path_that_begins_with_white_space_is_named(tmp_path):
    videos = [OwnVideo(' a/0.mp4', 0, 'train'), OwnVideo('a/0.mp4', 1, 'val')]
    with pytest.raises(ValueError, match="white space, .* got ' a/0.mp4'. R"):
        write_lists(OwnVideos('/', ['x', 'y'], videos), videos, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_not_utf8_is_named(tmp_path):
    name = os.fsdecode(b'caf\xe9.mp4')
    videos = [OwnVideo('a.mp4', 0, 'train'), OwnVideo(name, 1, 'val')]
    with pytest.raises(ValueError, match=r"1 of 2 .*'caf\\udce9.mp4'. Ren"):
        write_lists(OwnVideos('/', ['x', 'y'], videos), videos, tmp_path)
    assert not list(tmp_path.iterdir())
