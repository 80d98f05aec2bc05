# Camera motion of mixed speeds with a small ViT, for studies.
_base_ = [
    '_base_/models/ata_timesformer_nano.py',
    '_base_/datasets/camera_motion_study.py',
    '_base_/schedules/adamw_from_scratch.py',
    '_base_/default_runtime.py',
]
