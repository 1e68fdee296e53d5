"""Why a comparison with a batch leaves no verdict, in words for people."""

from collections.abc import Sequence

from torch import Tensor, nn

from ..attribution.calls import Replay, in_code
from ..attribution.chains import Passage
from .batches import RealBatch
from .likeness import are_pixels
from .own_rest import Sample, own_rest
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
            "The probe's images cannot be given to the model as your step gives its own. "
            f"Pass CAMCallback(forward={_sketch(batch)}."
        )
    close = nearest(inputs, real) if are_same and real is seen and are_pixels(inputs) else ""
    return (
        f"The probe is not what the model sees. {place} is given {_described(real)} in your step, and "
        f"{_described(probe)} from the probe. Pass the missing step: CAMCallback(preprocess=lambda pixels: ...), "
        f"from pixels in [0, 1] to what the model is given{f'; {close} comes close' if close else ''}."
    )


def takes_no_images(name: str) -> str:
    """A network other than the module is given images, as in a GAN."""
    return (
        f"Your step gives no images to forward(), but to {in_code(name)}, and the probe's are not like those. "
        f"If its output is the class scores, pass CAMCallback(forward=lambda module, images: {in_code(name)}(images))."
    )


def one_of(ways: Sequence[Replay]) -> str:
    """Several networks or heads give class scores."""
    code = [way.sketch() for way in ways]
    last = " and ".join(in_code(way.names[-1]) for way in ways)
    return (
        f"In your step {last} each give class scores. Say which ones count: "
        f"{' or '.join(f'CAMCallback(forward=lambda module, images: {each})' for each in code)}; "
        f"where your step adds them up, {' + '.join(code)}."
    )


def other_numbers(batch: RealBatch) -> str:
    """The same pictures arrive as other numbers."""
    return (
        "The probe is not what the model sees. Of the same pictures other numbers arrive at the layer "
        f"{batch.stem!r} in your step, in a similar range. Pass the missing step: "
        "CAMCallback(preprocess=lambda pixels: ...), from pixels in [0, 1] to what the model is given."
    )


def _sketch(batch: RealBatch) -> str:
    """The code of a ``forward=``, as far as the step shows it, and what is missing there."""
    name, call = next(iter(batch.entries), ("", None))
    if call is None or call.place is None:
        return (
            "lambda module, images: class_scores), or write the lines of your step that lead from images to class "
            "scores as forward(self, images)"
        )
    first, start = Replay(name, call).sketch(), [each.name for each in batch.passages].index(name)
    head = next((each for each in reversed(batch.passages[start + 1 :]) if _may_be_head(each)), None)
    if head is None or head.given is None:
        return (
            f"lambda module, images: class_scores); your step calls {in_code(name)} with images at "
            f"{'.'.join(call.place[1:])!r}"
        )
    shape = ", ".join(["N", *map(str, head.given.shape[1:])])
    return (
        f"lambda module, images: {in_code(head.name)}(between({first}))), where between stands for the lines of your "
        f"step that lead to a tensor of shape ({shape})"
    )


def _may_be_head(passage: Passage) -> bool:
    return passage.given is not None and isinstance(passage.output, Tensor) and passage.output.ndim == 2


def more_than_images(replay: Replay, module: nn.Module, sample: Sample | None) -> str:
    """The class scores hang on more than the images."""
    names, own = ", ".join(map(repr, replay.others(module))), own_rest(replay, module, sample)
    for_all = f"CAMCallback(forward=lambda module, images: {replay.sketch()})."
    said = f"The class scores depend on more than the images: your step also gives {names} to {in_code(replay.name)}. "
    if own is None:
        return f"{said}The probe has only images. Say what to use for it: {for_all}"
    forward = f"forward=lambda module, images, rest: {own.forward}"
    if not own.read:
        rows = ", ".join(f"{name!r}: {name}" for name in own.names)
        keeping = f"CAMCallback(probe.with_rest({{{rows}}}), {forward}), with tensors of a row for each picture"
    else:
        keeping = f"CAMCallback(read=lambda item: {own.read}, {forward})"
    dots = ", ".join(map(repr, own.missing))
    open_ends = f", where the dots stand for {dots}, as your step makes it of the item" if own.read and dots else ""
    return f"{said}Have each picture keep its own: {keeping}{open_ends}. Or use the same for all: {for_all}"


def _described(images: Tensor) -> str:
    values = images.detach().float()
    return f"{_number(values.min())} to {_number(values.max())} at {'x'.join(map(str, images.shape[1:]))}"


def _number(value: Tensor) -> str:
    return f"{round(float(value), 2):g}"
