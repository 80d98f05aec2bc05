# Camera motion from a quarter of a patch to more than two patches a frame.
_base_ = 'small_videos.py'

videos = dict(
    type='CameraMotionDataset',
    data_root='data/camera_motion_mixed',
    size=(64, 48),
    speed=(2.0, 18.0),
)
train_dataloader = dict(dataset=videos)
val_dataloader = dict(dataset=videos)
test_dataloader = dict(dataset=videos)

# Below half a patch a frame, up to 1.25, and above.
val_evaluator = dict(
    type='AccuracyBySpeed',
    ranges=dict(slow=(2.0, 4.0), medium=(4.0, 10.0), fast=(10.0, 18.0)),
)
test_evaluator = val_evaluator
