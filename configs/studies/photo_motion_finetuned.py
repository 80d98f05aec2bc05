# The same with the image model fine-tuned at a tenth of the learning rate.
_base_ = 'photo_motion.py'

title = 'Photo motion, fine-tuned image model, top-1 by speed: chance 0.125'
config = 'configs/photos/ata_efficientnet_photo_motion_finetuned.py'
