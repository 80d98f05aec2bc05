# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Properties of annotation files of any content."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmaction.datasets import VideoDataset

from ata_mm.datasets.annotations import AnnotationFile, read_samples

few = settings(max_examples=60, deadline=None)
# Neither the delimiter nor line breaks and surrogates, and no white space at
# the ends, which lines lose.
NAME = st.text(
    st.characters(
        exclude_categories=['Cs', 'Cc', 'Z'], exclude_characters=',\ufeff'
    ),
    min_size=1,
)
LABELS = st.lists(st.integers(0, 9), max_size=4)


def write(folder, text):
    path = Path(folder, 'list.txt')
    path.write_bytes(text.encode('utf-8'))
    return str(path)


@few
@given(
    st.lists(st.tuples(NAME, LABELS), min_size=1),
    st.sampled_from(['\n', '\r\n']),
)
def test_lines_are_read_as_mmaction2_reads_them(rows, end):
    lines = (','.join([name, *map(str, labels)]) for name, labels in rows)
    with TemporaryDirectory() as folder:
        path = write(folder, ''.join(line + end for line in lines))
        samples, faults = read_samples(
            AnnotationFile(path, 'v', ',', multi_label=True)
        )
        data = VideoDataset(
            path,
            [],
            dict(video='v'),
            multi_class=True,
            num_classes=10,
            delimiter=',',
            serialize_data=False,
        )
    assert not faults
    assert [list(s.labels) for s in samples] == [labels for _, labels in rows]
    assert [list(s.labels) for s in samples] == [
        entry['label'] for entry in data.data_list
    ]


@few
@given(st.text(st.characters(exclude_categories=['Cs'])))
def test_any_text_is_samples_or_faults(text):
    with TemporaryDirectory() as folder:
        file = AnnotationFile(write(folder, text))
        try:
            samples, faults = read_samples(file)
        except ValueError as error:
            assert file.ann_file in str(error)
            return
    named = sorted(
        [sample.line for sample in samples]
        + [int(str(fault).split('line ')[1].split(':')[0]) for fault in faults]
    )
    assert named == list(range(1, len(named) + 1))
    assert all(len(sample.labels) == 1 for sample in samples)


@few
@given(st.binary())
def test_any_bytes_are_read_or_the_file_is_named(content):
    with TemporaryDirectory() as folder:
        path = Path(folder, 'list.txt')
        path.write_bytes(content)
        try:
            read_samples(AnnotationFile(str(path)))
        except ValueError as error:
            assert str(path) in str(error)


def test_a_byte_order_mark_is_named(tmp_path):
    path = write(tmp_path, '\ufeffa.mp4 0\n')
    with pytest.raises(ValueError, match='byte order mark'):
        read_samples(AnnotationFile(path))
