# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
USE = """
import sys
import ata_mm.ops
import torch
model = torch.export.load(sys.argv[1]).module()
print(tuple(model(torch.zeros(5, 3, 4, 32, 32, dtype=torch.uint8)).shape))
"""


def test_a_file_is_used_in_another_process(
    run, tiny_config, checkpoint, tmp_path
):
    path = tmp_path / 'model.pt2'
    words = '--format', 'torch', '--out', path, '--rounds', 1
    done = run('export.py', tiny_config, checkpoint, *words)
    assert done.returncode == 0, done.stderr
    assert 'largest difference of a score: 0.0e+00' in done.stderr
    assert '| torch |' in done.stdout
    used = subprocess.run(
        [sys.executable, '-c', USE, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert used.stdout == '(5, 2)\n', used.stderr


def test_onnx_names_what_it_takes(run, tiny_config, checkpoint, tmp_path):
    words = '--format', 'onnx', '--out', tmp_path / 'model.onnx'
    done = run('export.py', tiny_config, checkpoint, *words)
    assert done.returncode == 1
    assert 'SinkhornMatcher, DisplacementMatcher' in done.stderr
    assert 'Traceback' not in done.stderr
