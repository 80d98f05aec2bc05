# ATA on ViT-B/16, Something-Something V2, 32 frames, 3 x 1 views. Paper,
# Table 2: 67.0 top-1, 91.0 top-5; with 3 x 4 views 67.1 and 90.8.
_base_ = [
    '_base_/models/ata_timesformer_base.py',
    '_base_/datasets/something_something_v2_32f.py',
    '_base_/schedules/sgd_30e.py',
    '_base_/default_runtime.py',
]

model = dict(backbone=dict(num_frames=32), cls_head=dict(num_classes=174))
