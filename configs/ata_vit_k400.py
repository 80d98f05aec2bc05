# ATA on ViT-B/16, Kinetics-400, 32 frames, 3 x 1 views. Paper, Table 1: 81.4
# top-1, 95.5 top-5; with 3 x 4 views 81.9 and 95.5.
_base_ = [
    '_base_/models/ata_timesformer_base.py',
    '_base_/datasets/kinetics400_32x8.py',
    '_base_/schedules/sgd_30e.py',
    '_base_/default_runtime.py',
]

model = dict(backbone=dict(num_frames=32))
