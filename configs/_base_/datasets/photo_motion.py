# Photos before a moving camera, an eighth of a patch of 16 to a patch a frame.
_base_ = 'small_videos.py'

videos = dict(
    type='PhotoMotionDataset',
    data_root='data/photo_motion',
    num_frames=10,
    size=(128, 96),
    speed=(2.0, 16.0),
)
read = dict(type='CachedVideo', height=96)
train_pipeline = _base_.train_pipeline
train_pipeline[0] = read
train_pipeline[3] = dict(type='RandomCrop', size=96)
val_pipeline = _base_.val_pipeline
val_pipeline[0] = read
val_pipeline[3] = dict(type='CenterCrop', crop_size=96)

train_dataloader = dict(
    batch_size=16,
    dataset=dict(num_videos=1024, pipeline=train_pipeline, **videos),
)
val_dataloader = dict(
    dataset=dict(num_videos=256, pipeline=val_pipeline, **videos)
)
test_dataloader = dict(
    dataset=dict(num_videos=512, pipeline=val_pipeline, **videos)
)

# Below a quarter of a patch a frame, up to half a patch, and above.
val_evaluator = dict(
    type='AccuracyBySpeed',
    ranges=dict(slow=(2.0, 4.0), medium=(4.0, 8.0), fast=(8.0, 16.0)),
)
test_evaluator = val_evaluator
