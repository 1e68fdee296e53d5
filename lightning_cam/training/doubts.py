"""Why a comparison with a batch leaves no verdict, in words for people."""

from torch import Tensor

from ..attribution.calls import Replay, in_code
from .batches import RealBatch
from .likeness import are_pixels
from .preprocessing import nearest


def missing_step(batch: RealBatch, inputs: Tensor, expected: Tensor, arrived: Tensor | None, *, are_same: bool) -> str:
    """The probe's images arrive otherwise than the batch did, and no way was found that mends it."""
    seen = next((call.images for _, call in batch.entries), None)
    if seen is not None and _described(seen) != _described(inputs):
        real, probe, place = seen, inputs, "The model"
    elif arrived is not None:
        real, probe, place = expected, arrived, f"The layer {batch.stem!r}"
    else:
        return (
            "The probe's images cannot be given to the model as your validation step gives its own. "
            f"Pass CAMCallback(forward=lambda module, images: class_scores); {_call_of(batch)}."
        )
    close = nearest(inputs, real) if are_same and real is seen and are_pixels(inputs) else ""
    return (
        f"The probe is not what the model sees. {place} is given {_described(real)} in your validation step, and "
        f"{_described(probe)} from the probe. Pass the missing step: CAMCallback(preprocess=lambda pixels: ...), "
        f"from pixels in [0, 1] to what the model is given{f'; {close} comes close' if close else ''}."
    )


def takes_no_images(name: str) -> str:
    """A network other than the module is given images, as in a GAN."""
    return (
        f"Your step gives no images to forward(), but to {in_code(name)}, and the probe's are not like those. "
        f"If its output is the class scores, pass CAMCallback(forward=lambda module, images: {in_code(name)}(images))."
    )


def one_of(batch: RealBatch, names: list[str]) -> str:
    """Several networks give class scores."""
    code = [Replay(name, batch.calls[name]).sketch() for name in names]
    listed = " and ".join(map(in_code, names))
    return (
        f"Your step gives images to {listed}, and each of them gives class scores. Say which ones count: "
        f"{' or '.join(f'CAMCallback(forward=lambda module, images: {each})' for each in code)}; "
        f"where your step adds them up, {' + '.join(code)}."
    )


def other_numbers(batch: RealBatch) -> str:
    """The same pictures arrive as other numbers."""
    return (
        "The probe is not what the model sees. Of the same pictures other numbers arrive at the layer "
        f"{batch.stem!r} in your validation step, in a similar range. Pass the missing step: "
        "CAMCallback(preprocess=lambda pixels: ...), from pixels in [0, 1] to what the model is given."
    )


def _call_of(batch: RealBatch) -> str:
    name, call = next(iter(batch.entries), ("", None))
    if call is None or call.place is None:
        return "your step calls no network with images that we could see"
    return f"your step calls {in_code(name)} with images at {'.'.join(call.place[1:])!r}"


def more_than_images(replay: Replay, others: list[str]) -> str:
    """The class scores hang on more than the images."""
    names = ", ".join(map(repr, others))
    return (
        f"The class scores depend on more than the images: your step also gives {names} to {in_code(replay.name)}. "
        "The probe has only images. Say what to use for it: "
        f"CAMCallback(forward=lambda module, images: {replay.sketch()})."
    )


def _described(images: Tensor) -> str:
    values = images.detach().float()
    return f"{_number(values.min())} to {_number(values.max())} at {'x'.join(map(str, images.shape[1:]))}"


def _number(value: Tensor) -> str:
    return f"{round(float(value), 2):g}"
