# Camera motion of 2-18 pixels per frame: after resizing a quarter of a patch
# up to more than two patches, in all splits.
_base_ = 'camera_motion.py'

videos = dict(data_root='data/camera_motion_mixed', speed=(2.0, 18.0))

train_dataloader = dict(dataset=videos)
val_dataloader = dict(dataset=videos)
test_dataloader = dict(dataset=videos)

# Below half a patch a frame, up to 1.25, and above.
val_evaluator = dict(
    type='AccuracyBySpeed',
    ranges=dict(slow=(2.0, 4.0), medium=(4.0, 10.0), fast=(10.0, 18.0)),
)
test_evaluator = val_evaluator
