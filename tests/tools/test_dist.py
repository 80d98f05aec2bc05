# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import os
import pickle

import pytest
import torch

SCRIPTS = ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh']


@pytest.fixture
def echo(tmp_path):
    """An environment whose python and srun print their arguments, one a
    line."""
    for name in ('python', 'srun'):
        (tmp_path / name).write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        (tmp_path / name).chmod(0o755)
    return dict(PYTHON='python', PATH=f'{tmp_path}:{os.environ["PATH"]}')


def test_dist_train(run, tiny_config, tmp_path):
    done = run(
        'dist_train.sh', tiny_config, 2, '--work-dir', tmp_path, '--seed', 0
    )
    assert done.returncode == 0, done.stderr
    # four videos in batches of two on two processes
    assert torch.load(tmp_path / 'epoch_1.pth')['meta']['iter'] == 1


def test_dist_test_equals_test(run, tiny_config, checkpoint, dump, tmp_path):
    path = tmp_path / 'dump.pkl'
    done = run(
        'dist_test.sh',
        tiny_config,
        checkpoint,
        2,
        '--dump',
        path,
        '--work-dir',
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    alone, together = (pickle.loads(p.read_bytes()) for p in (dump, path))
    for one, other in zip(alone, together):
        torch.testing.assert_close(one['pred_score'], other['pred_score'])


@pytest.mark.parametrize('script', SCRIPTS)
def test_usage(script, run):
    done = run(script)
    assert done.returncode == 2 and done.stderr.startswith('usage: ')


def test_dist_train_on_several_machines(run, echo):
    nodes = dict(
        NNODES='2', NODE_RANK='1', MASTER_ADDR='10.0.0.1', PORT='12345'
    )
    done = run('dist_train.sh', 'a.py', 8, **nodes, **echo)
    words = done.stdout.splitlines()
    assert words[2:7] == [
        '--nnodes=2',
        '--node_rank=1',
        '--master_addr=10.0.0.1',
        '--master_port=12345',
        '--nproc_per_node=8',
    ]


def test_dist_test_keeps_spaces(run, echo):
    done = run(
        'dist_test.sh', 'my a.py', 'a.pth', 2, '--dump', 'b c.pkl', **echo
    )
    words = done.stdout.splitlines()
    assert words[-6:] == [
        'my a.py',
        'a.pth',
        '--launcher',
        'pytorch',
        '--dump',
        'b c.pkl',
    ]


def test_slurm_train(run, echo):
    job = dict(GPUS='4', SRUN_ARGS='--time=1 --mem=2')
    done = run(
        'slurm_train.sh', 'part', 'job', 'a.py', '--seed=1', **job, **echo
    )
    words = done.stdout.splitlines()
    assert words[:6] == [
        '-p',
        'part',
        '--job-name=job',
        '--gres=gpu:4',
        '--ntasks=4',
        '--ntasks-per-node=4',
    ]
    assert words[-3:] == ['a.py', '--seed=1', '--launcher=slurm']
    assert '--time=1' in words and '--mem=2' in words


def test_slurm_test(run, echo):
    done = run('slurm_test.sh', 'part', 'job', 'a.py', 'a.pth', **echo)
    words = done.stdout.splitlines()
    assert words[-3:] == ['a.py', 'a.pth', '--launcher=slurm']
    assert words[-4].endswith('tools/test.py')


@pytest.mark.parametrize('processes', ['0', 'two'])
def test_refuses_what_is_no_number_of_processes(run, processes):
    done = run('dist_train.sh', 'config.py', processes)
    assert done.returncode == 2
    assert f"number of processes, 1 or more, got '{processes}'" in done.stderr
