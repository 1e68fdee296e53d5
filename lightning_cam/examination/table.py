"""A report as a table: one row for each probe image, to sort, filter and plot."""

from typing import TYPE_CHECKING, Any

import torch

from ..attribution.outputs import NO_ANSWER, predicted_classes
from ..text import class_name
from . import tasks

if TYPE_CHECKING:
    import pandas

    from .report import Report


def as_dataframe(report: "Report") -> "pandas.DataFrame":
    """See `Report.to_dataframe`."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError("to_dataframe needs pandas, which is not installed; run: pip install pandas") from error
    probabilities, predicted = report.chances.double(), predicted_classes(report.logits)
    columns: dict[str, Any] = {
        "name": list(report.names),
        "class": [class_name(report.classes, index) for index in report.targets.tolist()],
        "predicted": [
            None if index == NO_ANSWER else class_name(report.classes, index) for index in predicted.tolist()
        ],
        "probability": probabilities[torch.arange(len(predicted)), report.targets].numpy(),
        **_of_values(report),
        **({} if report.scores is None else {"score": report.scores.double().numpy()}),
        **{key: column.double().numpy() for key, column in report.values.items()},
        **{f"effect/{cue}": column.double().numpy() for cue, column in report.effects.items()},
    }
    return pandas.DataFrame(columns)


def _of_values(report: "Report") -> dict[str, Any]:
    """The true and the predicted value of each image, where values are predicted."""
    if report.probe is None or report.probe.values is None:
        return {}
    true, predicted = tasks.true_values(report.probe), tasks.predicted_values(report.logits, report.probe)
    return {"value": true.double().numpy(), "predicted_value": predicted.double().numpy()}
