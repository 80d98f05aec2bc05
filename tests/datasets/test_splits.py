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
    videos, groups = split_videos(found, 0.2, 0)
    assert groups == 0
    counts = Counter((v.label, v.split) for v in videos)
    assert counts[0, 'val'] == 2 and counts[1, 'val'] == 4


def test_the_split_depends_on_the_seed_alone():
    found = made(lambda _: [f'{n}' for n in range(20)])
    first, again, other = (split_videos(found, 0.3, s) for s in (0, 0, 1))
    assert first == again and first != other


@pytest.mark.parametrize(
    'template',
    ['v_Archery_g{:02d}_c{:02d}', 'match{}_clip{}', 'a{:010d}_{:06d}_000020'],
)
def test_clips_of_a_recording_stay_together(template):
    found = made(
        lambda label: [
            template.format(10 * label + g, c)
            for g in range(5)
            for c in range(4)
        ]
    )
    videos, groups = split_videos(found, 0.2, 0)
    assert groups == 10
    splits = {}
    for video in videos:
        recording = video.path.rsplit('_', template.count('_0') + 1)[0]
        splits.setdefault(recording, set()).add(video.split)
    assert all(len(one) == 1 for one in splits.values())


def test_one_recording_a_class_does_not_prevent_a_split():
    found = made(lambda label: [f'{label}_clip{n}' for n in range(5)])
    videos, groups = split_videos(found, 0.2, 0)
    assert groups == 0
    assert sum(video.split == 'val' for video in videos) == 2


def test_lists_use_a_mark_that_no_path_has(tmp_path):
    videos = [OwnVideo('a b.mp4', 0, 'train'), OwnVideo('c.mp4', 1, 'val')]
    mark = write_lists(OwnVideos('/', ['x', 'y'], videos), videos, tmp_path)
    assert mark == ','
    assert (tmp_path / 'train.txt').read_text() == 'a b.mp4,0\n'
    assert (tmp_path / 'classes.txt').read_text() == 'x\ny\n'


def test_lists_of_paths_with_spaces_are_read_again(folder):
    (folder / 'a' / '0.mp4').rename(folder / 'a' / 'my video.mp4')
    found = read_own_videos([str(folder)])
    videos, _ = split_videos(found, 0.5, 0)
    write_lists(found, videos, folder)
    again = read_own_videos([str(folder / f'{s}.txt') for s in SPLITS])
    assert again.classes == found.classes
    assert sorted(again.videos) == sorted(videos)


def test_a_name_that_is_not_utf8_is_named(tmp_path):
    name = os.fsdecode(b'caf\xe9.mp4')
    videos = [OwnVideo('a.mp4', 0, 'train'), OwnVideo(name, 1, 'val')]
    with pytest.raises(ValueError, match=r"1 of 2 .*'caf\\udce9.mp4'. Ren"):
        write_lists(OwnVideos('/', ['x', 'y'], videos), videos, tmp_path)
    assert not list(tmp_path.iterdir())
