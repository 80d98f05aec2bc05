# Classification of camera motion with a small ViT, in minutes on a CPU.
_base_ = [
    '_base_/models/ata_timesformer_micro.py',
    '_base_/datasets/camera_motion.py',
    '_base_/schedules/adamw_from_scratch.py',
    '_base_/default_runtime.py',
]
