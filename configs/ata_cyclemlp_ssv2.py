# ATA on CycleMLP-B5, Something-Something V2, 32 frames, 3 x 1 views. Not in
# the paper, whose CycleMLP is trained on Kinetics-400 only.
_base_ = [
    '_base_/models/ata_cyclemlp_b5.py',
    '_base_/datasets/something_something_v2_32f.py',
    '_base_/schedules/sgd_30e.py',
    '_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        num_frames=32,
        # Otherwise nothing in this model depends on the order of the frames,
        # which many of these classes differ by.
        temporal=dict(route_encoding=True, time_bias_slopes=(2.0, 0.25)),
    ),
    cls_head=dict(num_classes=174),
)
