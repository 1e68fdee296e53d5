"""A model that is trained already: its verdict from the checkpoint, in Python and on the command line."""

import pytorch_lightning as pl
import torch
from classifier import SIZE, Classifier, loaders, normalize
from pictures import folder

from lightning_cam import Probe, examine, judge

if __name__ == "__main__":
    pictures = folder()
    trainer = pl.Trainer(max_epochs=4, log_every_n_steps=5)  # stands for a training of last week
    trainer.fit(Classifier(), *loaders(pictures))
    trainer.save_checkpoint("last.ckpt")

    model = Classifier()
    model.load_state_dict(torch.load("last.ckpt", weights_only=True)["state_dict"])
    # The pictures come from files: size and normalization are those of the training.
    probe = Probe.from_folder(pictures / "val", 96, size=SIZE, preprocess=normalize)
    report = examine(model, probe)
    print(judge(report))
    print(report.to_dataframe().groupby("class").mean(numeric_only=True).round(2).T)
    print(f"""The same on the command line:
    lightning-cam examine last.ckpt --model classifier:Classifier --data {pictures / "val"} \\
        --size 64 64 --mean 0.5 0.5 0.5 --std 0.5 0.5 0.5 --out report""")
