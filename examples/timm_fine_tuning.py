"""Fine-tuning a network of timm, a CNN or a Vision Transformer, with its own normalization and a frozen beginning.

python timm_fine_tuning.py PICTURES MODEL      # as timm names it, with --pretrained for its weights
"""

import sys

import pytorch_lightning as pl
import timm
from classifier import Classifier, loaders
from pictures import folder

from lightning_cam import CAMCallback

if __name__ == "__main__":
    pretrained = "--pretrained" in sys.argv and sys.argv.remove("--pretrained") is None
    name = sys.argv.pop(2) if len(sys.argv) > 2 else "resnet18"
    pictures = folder()
    size = {"img_size": 64} if "vit" in name else {}
    net = timm.create_model(name, pretrained=pretrained, num_classes=len(list((pictures / "train").iterdir())), **size)
    if pretrained:
        for parameter in net.parameters():  # a frozen network has maps and verdicts as well
            parameter.requires_grad_(False)
        net.get_classifier().requires_grad_(True)

    config = timm.data.resolve_model_data_config(net)
    transform = timm.data.create_transform(**config | {"input_size": (3, 64, 64)}, is_training=False)

    # The layer and the normalization are found; `print(watch.probe)` and the last lines of the run name them.
    watch = CAMCallback()
    trainer = pl.Trainer(max_epochs=2, log_every_n_steps=5, callbacks=[watch])
    trainer.fit(Classifier(net, lr=1e-3), *loaders(pictures, transform))
