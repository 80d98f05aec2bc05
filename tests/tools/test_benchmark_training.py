# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
def test_each_runner_has_a_row(run, tiny_config):
    done = run('benchmark_training.py', tiny_config, '--rounds', 1)
    assert done.returncode == 0, done.stderr
    rows = [line.split(' | ')[0] for line in done.stdout.splitlines()]
    assert rows[-2:] == ['| Runner', '| ResumableRunner']
