# Camera motion from a quarter of a patch to more than two patches a frame.
_base_ = [
    '_base_/models/ata_timesformer_micro.py',
    '_base_/datasets/camera_motion_mixed.py',
    '_base_/schedules/adamw_from_scratch.py',
    '_base_/default_runtime.py',
]
