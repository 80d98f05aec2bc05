# Objects that turn a corner, with a small ViT.
_base_ = [
    '_base_/models/ata_timesformer_nano.py',
    '_base_/datasets/moving_objects.py',
    '_base_/schedules/adamw_from_scratch.py',
    '_base_/default_runtime.py',
]
