# The same with the image model fine-tuned at a tenth of the learning rate.
_base_ = 'ata_efficientnet_photo_motion.py'

optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            'backbone.image': dict(_delete_=True, lr_mult=0.1, decay_mult=1.0)
        }
    ),
)
