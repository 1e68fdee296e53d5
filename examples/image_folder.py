"""ImageFolder with transparent PNGs: the files are audited, then the training is watched. Masks come from the alpha."""

import pytorch_lightning as pl
from classifier import Classifier, loaders
from pictures import folder

from lightning_cam import CAMCallback, audit_dataset

if __name__ == "__main__":
    pictures = folder()
    audit = audit_dataset(pictures / "train")  # the same as: lightning-cam audit pictures/train
    print(audit)

    watch = CAMCallback(audit=audit)
    trainer = pl.Trainer(max_epochs=4, log_every_n_steps=5, callbacks=[watch])
    trainer.fit(Classifier(), *loaders(pictures))

    for finding in watch.verdict.findings:
        print(f"\n{finding.text}\n-> {finding.remedy.what}")
