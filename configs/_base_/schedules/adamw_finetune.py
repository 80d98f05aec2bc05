# For pretrained models on few videos. What starts without weights, temporal
# modules and the classifier, learns faster than what has them. In mmengine,
# custom_keys replace norm_decay_mult and bias_decay_mult: the weight decay of
# these modules includes their norms and biases.
_base_ = 'adamw_from_scratch.py'

train_cfg = dict(max_epochs=10, val_interval=1)
optim_wrapper = dict(
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(
        custom_keys={
            'temporal': dict(lr_mult=10.0),
            'cls_head': dict(lr_mult=10.0),
            # As 'temporal', whose entry the longer key replaces.
            'time_bias': dict(lr_mult=10.0, decay_mult=0.0),
        }
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, end=10, by_epoch=False),
    dict(
        type='CosineAnnealingLR',
        by_epoch=True,
        convert_to_iter_based=True,
        eta_min=0.0,
    ),
]
auto_scale_lr = dict(base_batch_size=8)  # the default of finetune
