# Sec. 4.1: SGD, 30 epochs, x0.1 at epochs 21 and 27, batch size 64; no weight
# decay on the class token and the embeddings. The paper states this for its
# ViT, and no other schedule for ConvNeXt and CycleMLP. Momentum is not stated.
train_cfg = dict(
    type='EpochBasedTrainLoop', max_epochs=30, val_begin=1, val_interval=1
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.005, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(
        custom_keys={
            'backbone.cls_token': dict(decay_mult=0.0),
            'backbone.pos_embed': dict(decay_mult=0.0),
            'backbone.time_embed': dict(decay_mult=0.0),
        }
    ),
)
param_scheduler = [
    dict(
        type='MultiStepLR',
        begin=0,
        end=30,
        by_epoch=True,
        milestones=[21, 27],
        gamma=0.1,
    )
]

# Scales the learning rate to other batch sizes: train.py --auto-scale-lr.
auto_scale_lr = dict(enable=False, base_batch_size=64)
