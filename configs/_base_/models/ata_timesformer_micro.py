# A model for 24 x 24 pixel clips that trains on a CPU in minutes. Since it is
# trained from scratch, the temporal branch does not start at zero, its heads
# attend to earlier or later frames, near or far (time_bias_slopes), and
# position embeddings are large enough to be separable from content
# (position_std).
model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='ATATimeSformer',
        num_frames=8,
        img_size=24,
        patch_size=4,
        embed_dims=48,
        num_heads=6,
        num_layers=3,
        drop_path_rate=0.0,
        position_std=2.0,
        position_init='sincos',
        time_std=0.2,
        temporal=dict(
            type='ATA',
            match_on='content',
            zero_init=False,
            time_bias_slopes=(2.0, 0.25),
        ),
    ),
    cls_head=dict(
        type='TimeSformerHead',
        num_classes=8,
        in_channels=48,
        average_clips='prob',
    ),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[40.0, 40.0, 40.0],
        format_shape='NCTHW',
    ),
)
