# The same with the image model fine-tuned at a tenth of the learning rate.
_base_ = 'photo_motion.py'

title = 'Photo motion, fine-tuned image model, top-1 by speed: chance 0.125'
config = 'configs/photos/ata_efficientnet_photo_motion_finetuned.py'
# Of the learning rates of `photo_motion`, those that its arms chose.
arms = {
    name: dict(
        _base_.arms[name], grid={'optim_wrapper.optimizer.lr': [1e-3, 3e-3]}
    )
    for name in ('temporal attention', 'ATA')
}
arms['_delete_'] = True
