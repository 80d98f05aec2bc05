# The same with the image model fine-tuned at a tenth of the learning rate. In
# mmengine, custom_keys replace norm_decay_mult and bias_decay_mult: the weight
# decay of the image model includes its norms and biases.
_base_ = 'ata_efficientnet_photo_motion.py'

model = dict(backbone=dict(freeze_image=False))
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'backbone.image': dict(lr_mult=0.1)}),
)
