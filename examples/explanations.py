"""One picture with Grad-CAM and every explanation of pixels, for three images of a small trained model."""

import numpy as np
import pytorch_lightning as pl
from classifier import SIZE, Classifier, loaders, normalize
from pictures import folder
from PIL import Image, ImageDraw
from torch import nn

from lightning_cam import Probe, examine, pixels

TRANSFORMERS_ONLY = "attention_rollout", "attention_relevance"


def network():
    """Pooling instead of strides, which would draw a grid into every gradient."""
    pairs = (3, 16), (16, 32), (32, 64)
    stages = (nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)) for a, b in pairs)
    return nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2))


def margin(logits):
    return (logits[:, 0] - logits[:, 1]).abs()  # the probability stays 1 behind any block


def panel(image):
    """Colours from 0 to 1, or a map from black (nothing) to white (its strongest hundredth)."""
    shades = image.movedim(0, 2) if image.ndim == 3 else image / image.quantile(0.99).clamp(min=1e-12)
    return Image.fromarray((255 * shades.clamp(0, 1)).numpy().astype(np.uint8)).resize((128, 128), 0)


if __name__ == "__main__":
    model, data = Classifier(network()), folder()
    pl.Trainer(max_epochs=4, log_every_n_steps=5).fit(model, *loaders(data))
    probe = Probe.from_folder(data / "val", 3, size=SIZE, preprocess=normalize)
    columns = {"picture": probe.images, "grad_cam": examine(model, probe, trials=()).maps}
    for name in sorted({*pixels.__all__} - {"OcclusionMaps", "occlusion_maps", *TRANSFORMERS_ONLY}):
        columns[name] = getattr(pixels, name)(model, probe, score=margin)
    sheet = Image.new("RGB", (136 * len(columns), 20 + 136 * len(probe)), "dimgrey")
    for x, (name, images) in enumerate(columns.items()):
        ImageDraw.Draw(sheet).text((136 * x + 4, 4), name)
        for y, image in enumerate(images):
            sheet.paste(panel(image), (136 * x + 4, 20 + 136 * y))
    sheet.save("explanations.png")
    print("Open explanations.png. Evidence against the class, which some maps have, is black like no evidence.")
