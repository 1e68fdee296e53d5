"""Makes the README's two pictures from the demo's two trainings. Takes a minute on two CPU cores.

python tests/benchmarks/readme_pictures.py --out examples/pictures
"""

import argparse
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytorch_lightning as pl
import torch
from PIL import Image

from lightning_cam import Probe, Report, examine, render
from lightning_cam.demo import script
from lightning_cam.demo.pictures import write_pictures
from lightning_cam.examination import Evidence, collect_evidence
from lightning_cam.render.scale import Picture

STEPS = (4, 16, 64, 256)
EPOCHS = 10  # of 44 steps, as in the demo
FIN, SPROUT = "fins_0070", "sprouts_0034"  # green and blue: attention is drawn in purple to yellow


class Watch(pl.Callback):
    """Examines the model at some steps and at the end of the training."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.reports: dict[int, Report] = {}

    def on_train_batch_end(self, trainer, pl_module, *_) -> None:
        if trainer.global_step in STEPS:
            self.reports[trainer.global_step] = examine(pl_module, self.probe, trials=())

    def on_train_end(self, trainer, pl_module) -> None:
        self.reports[trainer.global_step] = examine(pl_module, self.probe)


def train(probe: Probe, batches: script.Batches) -> tuple[script.SmallNet, dict[int, Report]]:
    torch.manual_seed(0)
    watch, model = Watch(probe), script.SmallNet()
    trainer = pl.Trainer(
        max_epochs=EPOCHS, callbacks=[watch], logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.fit(model, batches)
    return model, watch.reports


def evidence(shown: Evidence, names: Iterable[str], probe: Probe) -> Picture:
    places = {probe.names[index]: place for place, index in enumerate(shown.chosen.tolist())}
    swaps = [
        render.SwapRow(
            name=name,
            true=probe.classes[int(probe.targets[probe.names.index(name)])],
            panels=tuple(shown.images[places[name]]),
            probabilities=tuple(shown.probabilities[places[name]].tolist()),
        )
        for name in names
    ]
    return render.evidence(swaps, cue=shown.cue, title=f"Only the {shown.cue} was swapped")


def evolution(trainings: Mapping[str, Mapping[int, Report]], name: str, probe: Probe) -> Picture:
    index = probe.names.index(name)
    rows = [
        render.Row(
            name=training,
            image=probe.images[index],
            maps=[report.grid_maps[index] for report in reports.values()],
            mask=None if probe.masks is None else probe.masks[index],
            correct=[bool(report.logits[index].argmax() == probe.targets[index]) for report in reports.values()],
            outside=[float(report.values["background_attention_ratio"][index]) for report in reports.values()],
        )
        for training, reports in trainings.items()
    ]
    steps = list(next(iter(trainings.values())))
    return render.strip(rows, steps, title="Where the model looks, over time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("examples/pictures"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        write_pictures(data, n_train=350, n_val=100)
        probe = script.masked_probe(data)
        model, biased = train(probe, script.batches_of(data / "train", shuffle=True))
        _, remedied = train(probe, script.remedied_batches(data))
    shown = collect_evidence(model, probe, biased[max(biased)], "background", n=len(probe))
    trainings = {"trained on the files as they are": biased, "trained with random backgrounds": remedied}
    pictures = {
        "evidence": evidence(shown, (FIN, SPROUT), probe),
        "evolution": evolution(trainings, FIN, probe),
    }
    for name, picture in pictures.items():
        Image.fromarray(picture).save(out / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
