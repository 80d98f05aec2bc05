# ATA on ViT-B/16, Kinetics-400, 8 frames: last row of Tables 3, 5, 6 and 7.
_base_ = [
    '../_base_/models/ata_timesformer_base.py',
    '../_base_/datasets/kinetics400_8x32.py',
    '../_base_/schedules/sgd_30e.py',
    '../_base_/default_runtime.py',
]
