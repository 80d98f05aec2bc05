# Objects that turn a corner, of a quarter of a patch to 1.5 patches a frame,
# before a background that moves otherwise.
_base_ = 'small_videos.py'

videos = dict(
    type='MovingObjectsDataset',
    data_root='data/moving_objects',
    num_frames=10,
    size=(64, 48),
    speed=(2.0, 12.0),
)
train_dataloader = dict(dataset=videos)
val_dataloader = dict(dataset=videos)
test_dataloader = dict(dataset=videos)

# Below half a patch a frame, up to 1, and above.
val_evaluator = dict(
    type='AccuracyBySpeed',
    ranges=dict(slow=(2.0, 4.0), medium=(4.0, 8.0), fast=(8.0, 12.0)),
)
test_evaluator = val_evaluator
