# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest

from ata_mm.datasets.annotations import AnnotationFile


@pytest.fixture
def listed(tmp_path):
    """Write an annotation file in the folder of its samples."""

    def listed(*lines, **options):
        path = tmp_path / 'list.txt'
        path.write_text('\n'.join(lines) + '\n')
        return AnnotationFile(str(path), str(tmp_path), **options)

    return listed


@pytest.fixture
def videos(tmp_path):
    """Two empty files, a.mp4 and b.mp4."""
    for name in ('a.mp4', 'b.mp4'):
        (tmp_path / name).touch()


@pytest.fixture
def folder(tmp_path):
    """Two classes of three files; nothing opens them."""
    for name in ('a', 'b'):
        (tmp_path / name).mkdir()
        for number in range(3):
            (tmp_path / name / f'{number}.mp4').touch()
    return tmp_path
