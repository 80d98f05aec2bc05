# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
from mmengine.config import Config

from ata_mm.compat import cpu_distributed

TRAIN = """
import os, sys
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import Runner
from ata_mm.cli.launch import destroy_process_group
from ata_mm.compat import cpu_distributed


class Line(BaseModel):

    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(1, 1)

    def forward(self, x, mode):
        return dict(loss=self.line(torch.stack(x)).pow(2).mean())


data = dict(
    dataset=[dict(x=torch.ones(1) * i) for i in range(4)],
    batch_size=2, num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False))
cfg = Config(dict(launcher='pytorch'))
cpu_distributed.apply(cfg)


def train():
    runner = Runner(
        Line(), sys.argv[1], cfg=cfg, launcher='pytorch',
        experiment_name='line', train_dataloader=data,
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)))
    return runner.train().module.line.weight.item()


weight = train()
with open(os.path.join(sys.argv[1], 'rank' + os.environ['RANK']), 'w') as file:
    file.write(str(weight))
destroy_process_group()
"""


@pytest.fixture
def cpu(monkeypatch):
    """Hide the accelerator of this machine, if any."""
    monkeypatch.setattr(cpu_distributed, 'get_device', lambda: 'cpu')


def test_two_processes_train_one_model(python, tmp_path):
    script = tmp_path / 'train.py'
    script.write_text(TRAIN)
    torchrun = (
        '-m',
        'torch.distributed.run',
        '--standalone',
        '--nproc_per_node=2',
        str(script),
    )
    done = python(tmp_path, command=torchrun, CUDA_VISIBLE_DEVICES='')
    assert done.returncode == 0, done.stderr
    weights = [path.read_text() for path in tmp_path.glob('rank*')]
    assert len(weights) == 2 and weights[0] == weights[1]


@pytest.mark.usefixtures('cpu')
def test_a_run_of_one_process_is_not_changed():
    cfg = Config(dict(launcher='none'))
    cpu_distributed.apply(cfg)
    assert cfg.to_dict() == dict(launcher='none')


def test_a_run_with_an_accelerator_is_not_changed(monkeypatch):
    monkeypatch.setattr(cpu_distributed, 'get_device', lambda: 'cuda')
    assert not cpu_distributed.needed(Config(dict(launcher='pytorch')))


@pytest.mark.usefixtures('cpu')
def test_other_launchers_are_an_error():
    with pytest.raises(ValueError, match='torchrun'):
        cpu_distributed.apply(Config(dict(launcher='slurm')))
