# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
from pickle import UnpicklingError

import ata_mm  # noqa: F401

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner

from ata_mm.compat import checkpoint_globals


class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(2, 1)

    def forward(self, x, mode):
        y = self.line(torch.stack(x))
        return dict(loss=y.pow(2).mean()) if mode == 'loss' else list(y)


class NumpyScores(BaseMetric):
    """Scores of the types that metrics return."""

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(acc=np.float64(0.5), top1=np.float32(0.5), n=np.int64(2))


def build_runner(work_dir, max_epochs, **kwargs):
    data = dict(
        dataset=[dict(x=torch.ones(2))] * 4,
        batch_size=2,
        sampler=dict(type='DefaultSampler', shuffle=False),
    )
    return Runner(
        Line(),
        str(work_dir),
        train_dataloader=data,
        val_dataloader=data,
        val_evaluator=[NumpyScores()],
        train_cfg=dict(by_epoch=True, max_epochs=max_epochs),
        val_cfg=dict(),
        optim_wrapper=dict(optimizer=dict(type='AdamW')),
        param_scheduler=dict(type='MultiStepLR', milestones=[1]),
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', save_best='acc')
        ),
        experiment_name=f'line{max_epochs}',
        **kwargs,
    )


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory):
    """The work directory of a run of one epoch."""
    path = tmp_path_factory.mktemp('line')
    build_runner(path, 1).train()
    return path


@pytest.fixture
def saved(tmp_path):
    """Save an object with torch, and return the file."""

    def save(value):
        torch.save(value, tmp_path / 'value.pth')
        return tmp_path / 'value.pth'

    return save


class Call:
    """An object that is pickled as a function call."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


def test_resume_continues_the_logs(work_dir):
    runner = build_runner(work_dir, 2, resume=True)
    runner.train()
    losses, _ = runner.message_hub.get_scalar('train/loss').data
    assert runner.epoch == 2 and len(losses) == 4


def test_statistics_work_after_loading(work_dir):
    checkpoint = torch.load(work_dir / 'epoch_1.pth')
    loss = checkpoint['message_hub']['log_scalars']['train/loss']
    assert loss.statistics('max') == max(loss.data[0])


def test_files_of_numpy_1_are_read(tmp_path):
    path = tmp_path / 'old.pth'
    log = HistoryBuffer([1.0, 2.0], [1, 1])
    torch.save(log, path, _use_new_zipfile_serialization=False)
    old = path.read_bytes().replace(b'numpy._core.', b'numpy.core.')
    path.write_bytes(old)
    assert torch.load(path).mean() == 1.5


@pytest.mark.parametrize(
    'value',
    [
        Line(),
        Call(eval, '1'),
        Call(getattr, HistoryBuffer, 'update'),
        Call(getattr, np.ndarray, 'max'),
    ],
)
def test_other_objects_are_still_refused(saved, value):
    with pytest.raises(UnpicklingError):
        torch.load(saved(value))


def test_second_call_changes_nothing():
    before = set(torch.serialization.get_safe_globals())
    checkpoint_globals.apply()
    assert not checkpoint_globals.needed()
    assert set(torch.serialization.get_safe_globals()) == before
