# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
from mmaction.datasets import VideoDataset
from mmengine.dataset import ClassBalancedDataset

from ata_mm.compat import class_balanced


@pytest.fixture
def build(tmp_path):
    """Build a VideoDataset of lines."""

    def build(*lines, **options):
        path = tmp_path / 'list.txt'
        path.write_text('\n'.join(lines) + '\n')
        return VideoDataset(str(path), pipeline=[], **options)

    return build


def test_rare_classes_are_repeated(build):
    data = build(*[f'{i}.mp4 0' for i in range(7)], 'rare.mp4 1')
    balanced = ClassBalancedDataset(data, oversample_thr=0.5)
    assert len(balanced) == 9  # sqrt(0.5 / (1 / 8)) = 2 copies of the last
    assert balanced[8]['label'] == 1


def test_samples_of_several_labels_count_for_each(build):
    data = build('a.mp4 0 2', 'b.mp4 1', multi_class=True, num_classes=3)
    assert data.get_cat_ids(0) == [0, 2]
    assert len(ClassBalancedDataset(data, oversample_thr=0.1)) == 2


def test_second_call_changes_nothing():
    class_balanced.apply()
    assert not class_balanced.needed()
