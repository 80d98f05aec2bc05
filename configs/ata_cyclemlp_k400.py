# ATA on CycleMLP-B5, Kinetics-400, 32 frames, 3 x 1 views. Not in the paper,
# whose Table 3 has 8 frames.
_base_ = [
    '_base_/models/ata_cyclemlp_b5.py',
    '_base_/datasets/kinetics400_32x8.py',
    '_base_/schedules/sgd_30e.py',
    '_base_/default_runtime.py',
]

model = dict(backbone=dict(num_frames=32))
