# Textured scenes seen by a moving camera, eight classes; made on first use.
# Pans of 10-18 pixels per frame are 5-9 pixels after resizing, larger than a
# patch of 4.
videos = dict(
    type='CameraMotionDataset',
    data_root='data/camera_motion',
    size=(64, 48),
    speed=(10.0, 18.0),
)
clip = dict(clip_len=8, frame_interval=1)
shrink = dict(type='Resize', scale=(-1, 24), interpolation='area')
pack = dict(type='PackActionInputs', meta_keys=('img_shape', 'speed'))

train_pipeline = [
    dict(type='VideoInit', decoder='auto'),
    dict(type='SampleFrames', num_clips=1, **clip),
    dict(type='VideoDecode'),
    shrink,
    dict(type='RandomCrop', size=24),
    dict(type='FormatShape', input_format='NCTHW'),
    pack,
]
val_pipeline = [
    dict(type='VideoInit', decoder='auto'),
    dict(type='SampleFrames', num_clips=1, test_mode=True, **clip),
    dict(type='VideoDecode'),
    shrink,
    dict(type='CenterCrop', crop_size=24),
    dict(type='FormatShape', input_format='NCTHW'),
    pack,
]
# 3 x 2 views: three crops of two clips.
test_pipeline = [
    dict(type='VideoInit', decoder='auto'),
    dict(type='SampleFrames', num_clips=2, test_mode=True, **clip),
    dict(type='VideoDecode'),
    shrink,
    dict(type='ThreeCrop', crop_size=24),
    dict(type='FormatShape', input_format='NCTHW'),
    pack,
]

train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(split='train', pipeline=train_pipeline, **videos),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(split='val', pipeline=val_pipeline, test_mode=True, **videos),
)
test_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        split='val', pipeline=test_pipeline, test_mode=True, **videos
    ),
)

val_evaluator = dict(type='AccMetric')
test_evaluator = dict(type='AccMetric')
