# A model for 24 x 24 pixel clips that learns on a CPU in minutes. It starts
# from scratch: the temporal branch is not zero, its heads look forward or back
# in time, and the position of a patch can be read beside its content.
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
        drop_path_rate=0.,
        position_std=2.,
        position_init='sincos',
        time_std=0.2,
        temporal=dict(
            type='ATA', match_on='content', zero_init=False,
            time_bias_std=3.)),
    cls_head=dict(
        type='TimeSformerHead',
        num_classes=8,
        in_channels=48,
        average_clips='prob'),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[40., 40., 40.],
        format_shape='NCTHW'))
