# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.runner import CheckpointLoader

ROOT = Path(__file__).resolve().parents[2]

SCRIPTS = [
    f'{launcher}_{task}.sh'
    for launcher in ('dist', 'slurm')
    for task in ('train', 'test', 'predict')
]


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


FAULTS = """
_base_ = 'tiny.py'
custom_imports = dict(imports=['ata_mm', 'faults'])
custom_hooks = [dict(type='FaultHook', rank=1)]
default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1))
train_cfg = dict(max_epochs={epochs})
randomness = dict(seed=0)
"""


@pytest.fixture
def faulty(tiny_config):
    """Write a config of so many epochs whose second process can be killed."""

    def _faulty(epochs: int) -> Path:
        path = tiny_config.parent / f'faulty_{epochs}.py'
        path.write_text(FAULTS.format(epochs=epochs))
        return path

    return _faulty


def environment() -> dict:
    path = f'{ROOT}{os.pathsep}{ROOT / "tests"}'
    return dict(PYTHONPATH=path, PYTHON=sys.executable, OMP_NUM_THREADS='1')


@pytest.mark.slow
def test_a_killed_process_is_recovered(run, faulty, tmp_path):
    options = ['--max-restarts', 1, '--resume', '--work-dir']
    states = []
    for name, moment in (('whole', 'never'), ('killed', 'before_train_iter')):
        fault = f'custom_hooks.0.when={moment}', 'custom_hooks.0.iter=2'
        done = run(
            'dist_train.sh',
            faulty(3),
            2,
            *options,
            tmp_path / name,
            '--cfg-options',
            *fault,
            **environment(),
        )
        assert done.returncode == 0, done.stderr
        path = tmp_path / name / 'epoch_3.pth'
        states.append(CheckpointLoader.load_checkpoint(str(path)))
    assert (tmp_path / 'killed' / 'kill_before_train_iter_2').exists()
    assert 'resumed epoch: 2, iter: 2' in done.stdout + done.stderr
    whole, killed = (state['state_dict'] for state in states)
    assert all(torch.equal(whole[key], killed[key]) for key in whole)


def children(pid: int) -> list:
    path = Path(f'/proc/{pid}/task/{pid}/children')
    return [int(child) for child in path.read_text().split()]


def wait_for(condition, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()


@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
@pytest.mark.slow
def test_no_process_outlives_a_killed_launcher(faulty, tmp_path):
    launcher = subprocess.Popen(
        [
            'bash',
            str(ROOT / 'tools' / 'dist_train.sh'),
            str(faulty(10_000)),
            '2',
            '--work-dir',
            str(tmp_path),
        ],
        env=dict(os.environ, **environment()),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    started = wait_for((tmp_path / 'epoch_1.pth').exists, 200)
    processes = children(launcher.pid)
    os.kill(launcher.pid, signal.SIGKILL)
    launcher.wait()
    assert started and len(processes) == 2
    running = [Path(f'/proc/{pid}/cmdline') for pid in processes]
    try:  # the command line of a process that has ended is empty
        assert wait_for(
            lambda: not any(p.exists() and p.read_text() for p in running), 5
        )
    finally:
        for path, pid in zip(running, processes):
            if path.exists() and path.read_text():
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    'options, message',
    [
        (['--max-restarts', '2'], 'expected --resume'),
        (['--max-restarts', '2', '--resume', 'a.pth'], 'expected --resume'),
        (['--resume', '--max-restarts'], "--max-restarts, got ''"),
        (['--resume', '--max-restarts=many'], "--max-restarts, got 'many'"),
    ],
)
def test_restarts_need_a_number_and_resume(options, message, run):
    done = run('dist_train.sh', 'config.py', 2, *options)
    assert done.returncode == 2 and message in done.stderr


def test_nodes_that_restart_agree_on_it(run, echo):
    nodes = dict(NNODES='2', MASTER_ADDR='10.0.0.1', PORT='12345')
    options = ['--resume', '--max-restarts=3', '--seed', 1]
    done = run('dist_train.sh', 'a.py', 8, *options, **nodes, **echo)
    words = done.stdout.splitlines()
    assert words[2:8] == [
        '--nnodes=2',
        '--rdzv-backend=c10d',
        '--rdzv-id=ata_mm',
        '--rdzv-endpoint=10.0.0.1:12345',
        '--nproc_per_node=8',
        '--max-restarts=3',
    ]
    assert words[-3:] == ['--resume', '--seed', '1']


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
    assert len(alone) == len(together) == 4
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


def test_dist_predict(run, echo):
    options = ['--list', 'my list.txt', '--max-restarts', '1', '--resume']
    done = run('dist_predict.sh', 'a.py', 'a.pth', 3, *options, **echo)
    words = done.stdout.splitlines()
    assert '--nproc_per_node=3' in words and '--max-restarts=1' in words
    assert words[-10].endswith('tools/predict.py')
    assert words[-9:] == [
        '--config',
        'a.py',
        '--checkpoint',
        'a.pth',
        '--launcher',
        'pytorch',
        '--list',
        'my list.txt',
        '--resume',
    ]


def test_slurm_predict(run, echo):
    options = ['--list', 'a.txt']
    done = run(
        'slurm_predict.sh', 'part', 'job', 'a.py', 'a.pth', *options, **echo
    )
    words = done.stdout.splitlines()
    assert words[-8].endswith('tools/predict.py')
    assert words[-7:] == [
        '--config',
        'a.py',
        '--checkpoint',
        'a.pth',
        '--list',
        'a.txt',
        '--launcher=slurm',
    ]


@pytest.mark.parametrize('processes', ['0', 'two'])
def test_refuses_what_is_no_number_of_processes(run, processes):
    done = run('dist_train.sh', 'config.py', processes)
    assert done.returncode == 2
    assert f"number of processes, 1 or more, got '{processes}'" in done.stderr


@pytest.mark.parametrize(
    'made, found',
    [
        ([], 'python'),
        (['.venv-integrations'], '.venv-integrations/bin/python'),
        (['.venv', '.venv-integrations'], '.venv/bin/python'),
    ],
)
def test_an_environment_of_the_checkout_is_found(made, found, tmp_path):
    (tmp_path / 'tools').mkdir()
    script = shutil.copy(ROOT / 'tools' / 'launch.sh', tmp_path / 'tools')
    for name in made:
        (tmp_path / name / 'bin').mkdir(parents=True)
        (tmp_path / name / 'bin' / 'python').touch(0o755)
    done = subprocess.run(
        ['bash', '-c', f'. {script}; echo $PYTHON'],
        env=dict(PATH=os.environ['PATH']),
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip().removeprefix(f'{tmp_path}/') == found
