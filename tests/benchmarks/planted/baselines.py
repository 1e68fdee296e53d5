"""What others would score a run with: attention measures, an audit of the data, and cleanlab's documented score."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter
from torch import Tensor
from torch.utils.data import Dataset

from lightning_cam import examine
from lightning_cam.attribution.measures import nan_mean
from lightning_cam.audit import audit_dataset

from .runs import Record
from .scenes import Pictures

FROM_ATTENTION = ("background attention", "background lift", "1 - Attention-IoU", "border attention")
FROM_DATA = ("audit of the data", "cleanlab as documented")


def attention_scores(record: Record) -> dict[str, float]:
    """Means over the probe; higher is meant to say "more reliance on something that is not the object"."""
    report = examine(record.model(), record.probe, trials=())
    values, masks = report.values, record.probe.masks
    assert masks is not None
    measured = (
        values["background_attention_ratio"],
        values["background_attention_lift"],
        1 - attention_iou(report.maps, masks.float()),
        values["border_attention_ratio"],
    )
    return {name: float(nan_mean(column)) for name, column in zip(FROM_ATTENTION, measured, strict=True)}


def attention_iou(maps: Tensor, masks: Tensor) -> Tensor:
    """Soft overlap of maps and masks, 0..1, ``(N,)``; NaN for an empty map.

    With ``a`` and ``b`` of sum 1: ``sum(a b) / sum(((a + b) / 2) ** 2)``; maps are scaled to 0..1 before
    (Serianni et al. 2025).
    """
    lowest, highest = maps.flatten(1).amin(1)[:, None, None], maps.flatten(1).amax(1)[:, None, None]
    scaled = (maps - lowest) / (highest - lowest)
    a, b = scaled / scaled.sum((1, 2), keepdim=True), masks / masks.sum((1, 2), keepdim=True)
    return (a * b).sum((1, 2)) / (((a + b) / 2) ** 2).sum((1, 2))


def data_scores(train: Pictures) -> dict[str, float]:
    """What can be said from the training pictures alone, whatever the model does with them."""
    audit = audit_dataset(_Data(train), workers=1)
    skill = max([finding.skill for finding in audit.findings if finding.cue != "file"], default=0.0)
    return dict(zip(FROM_DATA, (skill, 1 - cleanlab_score(train)), strict=True))


class _Data(Dataset[tuple[Tensor, int]]):
    def __init__(self, kept: Pictures) -> None:
        self.images, self.targets = kept.images.float() / 255, kept.targets.tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.images[i], self.targets[i]


def cleanlab_score(train: Pictures) -> float:
    """Lowest score of its image properties: 0 predicts the label perfectly, 1 not better than the most common class.

    A rewrite in numpy of what cleanlab's documentation says Datalab's ``spurious_correlations`` does: 1 minus the
    relative accuracy improvement, over the most common class, of a Gaussian naive Bayes on one property (5 folds). The
    code of cleanlab takes another baseline. Properties after CleanVision; size, aspect and colour mode are the same for
    all pictures here, so that theirs say nothing.
    """
    labels = train.targets.numpy()
    images = [Image.fromarray(image) for image in train.images.permute(0, 2, 3, 1).numpy()]
    baseline = np.bincount(labels).max() / len(labels)
    accuracies = [_cross_validated(np.array([fact(image) for image in images]), labels) for fact in PROPERTIES]
    return float(min(min(1.0, (1 - accuracy) / (1 - baseline)) for accuracy in accuracies))


def _brightness(image: Image.Image) -> npt.NDArray[np.float64]:
    red, green, blue = np.moveaxis(np.asarray(image, float) / 255, 2, 0)
    return np.sqrt(0.241 * red**2 + 0.691 * green**2 + 0.068 * blue**2)


def _dark(image: Image.Image) -> float:
    return float(np.percentile(_brightness(image), 99))


def _light(image: Image.Image) -> float:
    return float(1 - np.percentile(_brightness(image), 5))


def _low_information(image: Image.Image) -> float:
    return 0.1 * image.convert("L").entropy()


def _blurry(image: Image.Image) -> float:
    return float(1 - np.exp(-0.01 * np.asarray(image.convert("L").filter(ImageFilter.FIND_EDGES), float).std()))


PROPERTIES: tuple[Callable[[Image.Image], float], ...] = (_dark, _light, _low_information, _blurry)


def _cross_validated(values: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], folds: int = 5) -> float:
    """Accuracy of a Gaussian naive Bayes on one value."""
    fold = np.empty(len(labels), int)
    for label in np.unique(labels):
        fold[labels == label] = np.arange((labels == label).sum()) % folds
    right = [
        _gaussian(values[fold != f], labels[fold != f], values[fold == f]) == labels[fold == f] for f in range(folds)
    ]
    return float(np.concatenate(right).mean())


def _gaussian(
    values: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], asked: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    classes, counts = np.unique(labels, return_counts=True)
    groups = [values[labels == label] for label in classes]
    means, variances = (np.array([f(group) for group in groups]) for f in (np.mean, np.var))
    variances = variances + 1e-9 * values.var()
    fits = np.log(counts) - 0.5 * np.log(variances) - (asked[:, None] - means) ** 2 / (2 * variances)
    return classes[fits.argmax(1)]
