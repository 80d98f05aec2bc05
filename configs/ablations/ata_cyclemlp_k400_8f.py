# ATA on CycleMLP-B5, Kinetics-400, 8 frames: last row of Table 3.
_base_ = [
    '../_base_/models/ata_cyclemlp_b5.py',
    '../_base_/datasets/kinetics400_8x32.py',
    '../_base_/schedules/sgd_30e.py',
    '../_base_/default_runtime.py',
]
