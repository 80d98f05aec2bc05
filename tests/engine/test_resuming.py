# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import shutil

import pytest
import torch

from ata_mm.engine import ResumeError
from ata_mm.engine.resuming import (
    find_resume_point,
    last_checkpoint,
    newest,
    read,
)


def save(path, iteration: int, **changes) -> None:
    checkpoint = dict(
        meta=dict(epoch=1, iter=iteration, seed=7),
        state_dict=dict(weight=torch.arange(1000.0)),
        message_hub={},
        optimizer={},
    )
    torch.save(dict(checkpoint, **changes), path)


@pytest.fixture
def folder(tmp_path):
    """A work directory with checkpoints of 2, 9 and 10 iterations."""
    for iteration in (10, 9, 2):
        save(tmp_path / f'iter_{iteration}.pth', iteration)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_10.pth'))
    return tmp_path


def cut(path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


def overwrite(path) -> None:
    """Change one tensor, which torch.load does not notice."""
    content = path.read_bytes()
    position = content.index(torch.arange(100.0).numpy().tobytes())
    path.write_bytes(
        content[:position] + b'\xff\xff' + content[position + 2 :]
    )
    torch.load(path)


def empty(path) -> None:
    path.write_bytes(b'')


def test_of_equal_times_the_newest_checkpoint_has_most_iterations(folder):
    assert newest(folder)[:4] == (str(folder / 'iter_10.pth'), 10, 7, '')


def test_checkpoints_of_an_earlier_run_are_older(folder):
    meta = dict(epoch=1, iter=1, seed=8, time='20260102_030405')
    save(folder / 'iter_1.pth', 1, meta=meta)
    save(folder / 'iter_3.pth', 3, meta=dict(meta, time='20251231_235959'))
    point = newest(folder)
    assert point.iter == 1 and point.seed == 8


@pytest.mark.parametrize('damage', [cut, overwrite, empty])
def test_a_damaged_checkpoint_is_passed_over_and_named(damage, folder):
    damage(folder / 'iter_10.pth')
    point = newest(folder)
    assert point.path == str(folder / 'iter_9.pth')
    assert str(folder / 'iter_10.pth') in point.skipped


@pytest.mark.parametrize('content', [None, '', '/nowhere/iter_99.pth'])
def test_last_checkpoint_may_be_wrong(content, folder):
    (folder / 'last_checkpoint').unlink()
    if content is not None:
        (folder / 'last_checkpoint').write_text(content)
    assert newest(folder).iter == 10


def test_a_copied_folder_resumes_from_itself(folder):
    copy = folder.parent / f'{folder.name}_copy'
    shutil.copytree(folder, copy)
    assert newest(copy).path == str(copy / 'iter_10.pth')


@pytest.mark.parametrize('name', ['ck_{}.pt', 'ck_{}.ckpt', 'ck_{}'])
def test_checkpoints_of_another_suffix_are_found(folder, name):
    for file in list(folder.glob('*.pth')):
        file.rename(folder / name.format(file.stem[5:]))
    expected = folder / name.format(10)
    (folder / 'last_checkpoint').write_text(f'/moved/{expected.name}')
    assert newest(folder).path == str(expected)


def test_the_name_of_a_folder_is_no_pattern(tmp_path):
    folder = tmp_path / 'run[1]'
    folder.mkdir()
    save(folder / 'iter_2.pth', 2)
    assert newest(folder).path == str(folder / 'iter_2.pth')


def test_the_last_checkpoint_is_that_of_a_moved_folder(folder, tmp_path):
    moved = shutil.move(folder, tmp_path.parent / f'{folder.name}_moved')
    assert last_checkpoint(moved) == str(moved / 'iter_10.pth')


def test_checkpoints_may_lie_in_another_folder(folder, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('work')
    shutil.copy(folder / 'last_checkpoint', work_dir)
    assert newest(work_dir).path == str(folder / 'iter_10.pth')


def test_best_and_diverged_checkpoints_are_left_out(folder):
    save(folder / 'best_acc_iter_12.pth', 12)
    save(folder / 'diverged_iter_11.pth', 11)
    assert newest(folder).iter == 10


def test_an_empty_folder_has_nothing_to_resume(tmp_path):
    assert newest(tmp_path) is None


def test_damaged_checkpoints_alone_are_an_error(folder):
    for path in folder.glob('*.pth'):
        cut(path)
    with pytest.raises(ResumeError, match=r'none that can.*iter_9\.pth'):
        newest(folder)


def test_the_best_weights_alone_are_an_error(tmp_path):
    path = tmp_path / 'best_acc_epoch_1.pth'
    torch.save(dict(meta=dict(epoch=1, iter=4), state_dict={}), path)
    with pytest.raises(
        ResumeError, match='epoch_1.pth has no state of an opt'
    ):
        newest(tmp_path)


@pytest.mark.parametrize(
    'content',
    [
        dict(weight=torch.zeros(1)),
        dict(state_dict={}, meta={}),
        dict(state_dict={}, meta=None),
        [1],
    ],
)
def test_weights_alone_say_how_to_start_from_them(content, tmp_path):
    torch.save(content, tmp_path / 'model.pth')
    with pytest.raises(ResumeError, match='load_from=.*model.pth without'):
        read(str(tmp_path / 'model.pth'))


def test_a_damaged_file_is_named(folder):
    cut(folder / 'iter_2.pth')
    reason = r'iter_2\.pth, which cannot be read'
    with pytest.raises(ResumeError, match=reason):
        find_resume_point(str(folder), str(folder / 'iter_2.pth'))


def test_an_old_file_format_is_read(tmp_path):
    path = tmp_path / 'iter_3.pth'
    state = dict(
        meta=dict(epoch=1, iter=3), state_dict={}, message_hub={}, optimizer={}
    )
    torch.save(state, path, _use_new_zipfile_serialization=False)
    assert newest(tmp_path)[:4] == (str(path), 3, None, '')


class Code:
    def __reduce__(self):
        return print, ('ran',)


def test_a_checkpoint_that_runs_code_is_refused_without_advice(
    folder, tmp_path
):
    torch.save(Code(), tmp_path / 'code.pth')
    with pytest.raises(ResumeError, match='print') as error:
        read(str(tmp_path / 'code.pth'))
    assert 'weights_only' not in str(error.value)
