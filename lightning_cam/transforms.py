"""Remedies against shortcuts that torchvision lacks, as transforms of its v2. In a `Compose`, `Normalize` comes later.

Like torchvision's, they take PIL pictures, tensors ``(..., C, H, W)`` and samples with boxes, masks and labels. Pixels
are bytes or floats in [0, 1]. Random numbers come from torch's global generator, once for the whole sample.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as v2_functional

from .datasets.jpeg import through_jpeg

__all__ = ["FlattenAlpha", "RandomBackground", "RandomReencode", "RandomStyle", "keep_alpha"]

_Params: TypeAlias = dict[str, Any]

_MOST_COLOURS = 8  # along each side of a random background
_ROUNDING = 0.01  # what resizing may add to floats in [0, 1]
# Of a random style. After it, networks that lived on rows, channels or noise were right on 0.48, 0.53 and 0.47 of
# pictures with another class's style, before on 0.00 to 0.02; a third of the saturation: 0.26, a grating: 0.02.
_MOST_SHIFT, _HIGHEST_WAVE, _MOST_GRAIN, _N_WAVES = 2, 0.08, 0.15, 3
_LEAST_SATURATION, _SPAN, _GREY = 0.1, 20.0, 0.25  # saturation times 0.1 to 2; of a quarter of the pictures, none


def keep_alpha(path: str) -> Image.Image:
    """The picture at ``path`` as RGBA where it has transparency, else as RGB.

    Use it as ``ImageFolder(folder, transform, loader=keep_alpha)``. ImageFolder's own loader drops transparency, so
    that the hidden colour becomes visible. The transform must then begin with `FlattenAlpha`.
    """
    with Image.open(path) as picture:
        converted: Image.Image = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    return converted


class FlattenAlpha(v2.Transform):  # type: ignore[misc] # torchvision has no complete types
    """Puts pictures with transparency on a plain colour. All others become RGB and keep their colours.

    In pictures of 2 or 4 channels the last one is transparency. Opaque pixels do not change by a bit.

    Args:
        colour: Red, green and blue, 0 to 255, also for floats; None draws one for each call.

    >>> FlattenAlpha((255, 0, 0))(torch.zeros(4, 1, 1)).flatten()
    tensor([1., 0., 0.])
    """

    def __init__(self, colour: tuple[int, int, int] | None = None) -> None:
        super().__init__()
        if colour is not None and not (len(colour) == 3 and all(0 <= part <= 255 for part in colour)):
            raise ValueError(f"colour must be red, green and blue from 0 to 255, or None for random, got {colour!r}")
        self.colour = colour

    def make_params(self, flat_inputs: list[Any]) -> _Params:
        """The colour."""
        drawn = (255 * _random_colours((), 3, 1)).round().int().flatten().tolist()
        return {"colour": drawn if self.colour is None else self.colour}

    def transform(self, inpt: Any, params: _Params) -> Any:
        """The picture on the colour. Anything else is returned unchanged."""
        if isinstance(inpt, Image.Image):
            return _flat_picture(inpt, params["colour"])
        return _like(inpt, _flat_tensor(_checked(inpt), params["colour"])) if _is_picture(inpt) else inpt


class RandomBackground(v2.Transform):  # type: ignore[misc] # torchvision has no complete types
    """Replaces the pixels outside the mask of a sample by a plain colour, a gradient or clouds.

    A sample has a picture and one `tv_tensors.Mask` that is not 0 on the object: ``(H, W)``, or ``(k, H, W)`` for k
    parts of the object. A batch ``(N, C, H, W)`` has masks ``(N, H, W)`` or ``(N, k, H, W)``; every picture gets a
    background of its own. Pixels inside the mask do not change by a bit, nor do masks and boxes.

    Args:
        p: Probability that a call replaces the background.
    """

    def __init__(self, p: float = 1.0) -> None:
        super().__init__()
        self.p = _checked_chance(p)

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        """Raises unless there is exactly one mask."""
        n_masks = sum(isinstance(inpt, tv_tensors.Mask) for inpt in flat_inputs)
        if n_masks != 1:
            raise ValueError(
                f"RandomBackground needs exactly one tv_tensors.Mask in a sample, this one has {n_masks}; "
                "call it with (image, tv_tensors.Mask(mask)), in which the mask is not 0 on the object"
            )

    def make_params(self, flat_inputs: list[Any]) -> _Params:
        """The mask and a few colours ``(..., C, n, n)`` to blend. Empty if this call leaves the background."""
        if torch.rand(()) >= self.p:
            return {}
        n_channels = v2.query_chw(flat_inputs)[0]
        lead = next((inpt.shape[:-3] for inpt in flat_inputs if _is_picture(inpt) and isinstance(inpt, Tensor)), ())
        n = int(torch.randint(1, _MOST_COLOURS + 1, ()))
        mask = next(inpt for inpt in flat_inputs if isinstance(inpt, tv_tensors.Mask))
        return {"mask": mask.as_subclass(Tensor), "colours": _random_colours(tuple(lead), n_channels, n)}

    def transform(self, inpt: Any, params: _Params) -> Any:
        """The picture in front of the background. Anything else is returned unchanged."""
        if not params or not _is_picture(inpt):
            return inpt
        if isinstance(inpt, Image.Image):
            pixels = v2_functional.pil_to_tensor(_plain(inpt))
            return v2_functional.to_pil_image(_in_front(pixels, **params))
        return _like(inpt, _in_front(_checked(inpt), **params))


class RandomReencode(v2.JPEG):  # type: ignore[misc] # torchvision has no complete types
    """Encodes pictures of 1 or 3 channels as JPEG at a random quality. Unlike torchvision's, it takes floats too.

    Tensors too go through Pillow, picture by picture: torchvision's own encoder is deprecated since 0.29.

    Args:
        quality: Lowest and highest quality, 1 to 100.
        p: Probability that a call encodes the picture.
    """

    def __init__(self, quality: tuple[int, int] = (40, 95), p: float = 1.0) -> None:
        super().__init__(quality)
        self.p = _checked_chance(p)

    def make_params(self, flat_inputs: list[Any]) -> _Params:
        """The quality. Empty if this call leaves the picture."""
        return dict(super().make_params(flat_inputs)) if torch.rand(()) < self.p else {}

    def transform(self, inpt: Any, params: _Params) -> Any:
        """The picture after encoding and decoding. Anything else is returned unchanged."""
        if not params or not _is_picture(inpt):
            return inpt
        if isinstance(inpt, Image.Image):
            return v2_functional.jpeg(_plain(inpt), **params)
        pixels = _as_bytes(_checked(inpt))
        if pixels.shape[-3] not in (1, 3):
            raise ValueError(f"JPEG needs 1 or 3 channels, got {pixels.shape[-3]}; put FlattenAlpha() before")
        decoded = _reencoded(pixels, **params)
        return _like(inpt, decoded.to(inpt.dtype) / 255 if inpt.is_floating_point() else decoded)


class RandomStyle(v2.Transform):  # type: ignore[misc] # torchvision has no complete types
    """Gives pictures of 1 or 3 channels the look of another camera, scanner or program, at random.

    Colour channels and every other row and column are shifted, saturation varies, waves and noise lie over all. Models
    learn slower with it.

    Args:
        p: Probability that a call changes the picture.
    """

    def __init__(self, p: float = 1.0) -> None:
        super().__init__()
        self.p = _checked_chance(p)

    def make_params(self, flat_inputs: list[Any]) -> _Params:
        """What is done. Empty if this call leaves the picture."""
        if torch.rand(()) >= self.p:
            return {}
        is_grey, saturation, grain = torch.rand(3).tolist()
        return {
            "shifts": torch.randint(-_MOST_SHIFT, _MOST_SHIFT + 1, (4, 2)).tolist(),
            "saturation": 0.0 if is_grey < _GREY else _LEAST_SATURATION * _SPAN**saturation,
            "waves": torch.rand(_N_WAVES, 4).tolist(),
            "grain": _MOST_GRAIN * grain,
        }

    def transform(self, inpt: Any, params: _Params) -> Any:
        """The picture in another style. Anything else is returned unchanged."""
        if not params or not _is_picture(inpt):
            return inpt
        if isinstance(inpt, Image.Image):
            pixels = v2_functional.pil_to_tensor(_plain(inpt)).float() / 255
            return v2_functional.to_pil_image(_as_bytes(_restyled(pixels, **params)))
        pixels = _checked(inpt)
        if pixels.shape[-3] not in (1, 3):
            raise ValueError(f"a style needs 1 or 3 channels, got {pixels.shape[-3]}; put FlattenAlpha() before")
        if pixels.is_floating_point():
            return _like(inpt, _restyled(pixels, **params))
        return _like(inpt, _as_bytes(_restyled(pixels.float() / 255, **params)))


def _restyled(
    pixels: Tensor, shifts: list[tuple[int, int]], saturation: float, waves: list[tuple[float, ...]], grain: float
) -> Tensor:
    """Pixels with channels and, by the last of the shifts, every other row and column moved, and the rest done."""
    channels, (across, down) = range(pixels.shape[-3]), shifts[-1]
    moved = torch.stack([pixels[..., i, :, :].roll(shifts[i], (-2, -1)) for i in channels], -3)
    moved[..., ::2, :] = moved[..., ::2, :].roll(across, -1)
    moved[..., ::2] = moved[..., ::2].roll(down, -2)
    styled = moved.mean(-3, keepdim=True).lerp(moved, saturation) + grain * torch.randn_like(moved)
    rows, columns = (torch.arange(side, device=pixels.device).to(pixels) for side in pixels.shape[-2:])
    for height, begin, frequency, is_across in waves:  # of scanners and screens, which have rows and columns
        places = columns if is_across < 0.5 else rows[:, None]
        styled = styled + _HIGHEST_WAVE * height * torch.sin(torch.pi * (2 * begin + (0.1 + 0.9 * frequency) * places))
    return styled.clamp(0, 1)


def _random_colours(lead: tuple[int, ...], n_channels: int, n: int) -> Tensor:
    """Colours ``(*lead, C, n, n)``. Each picture has one brightness and one saturation.

    Both are clamped so that one picture in six is at the lowest value and one in six at the highest. Backgrounds of
    files are mostly black, white and grey, and channels drawn one by one would almost never give these.
    """
    brightness, saturation = (1.5 * torch.rand(2, *lead, 1, 1, 1) - 0.25).clamp(0, 1)
    colours: Tensor = brightness * (1 - saturation * torch.rand(*lead, n_channels, n, n))
    return colours


def _is_picture(inpt: Any) -> bool:
    """Whether v2 treats it as a picture. Of several plain tensors in a sample, v2 passes on only the first."""
    types = (Image.Image, tv_tensors.Image, tv_tensors.Video)
    return isinstance(inpt, types) or bool(v2_functional.is_pure_tensor(inpt))


def _like(image: Tensor, values: Tensor) -> Tensor:
    """The values as the class that the image had."""
    return tv_tensors.wrap(values, like=image) if isinstance(image, tv_tensors.TVTensor) else values


def _plain(picture: Image.Image) -> Image.Image:
    if picture.mode not in ("RGB", "L") or picture.has_transparency_data:
        raise ValueError(f"expected a picture of mode RGB or L, got {picture.mode}; put FlattenAlpha() before")
    return picture


def _checked(image: Tensor) -> Tensor:
    """The image as a plain tensor, if it holds pixels."""
    if image.ndim < 3 or not (image.dtype == torch.uint8 or image.is_floating_point()):
        form = f"{image.dtype} {tuple(image.shape)}"
        raise ValueError(f"expected pixels (..., C, H, W), uint8 or floats in [0, 1], got {form}; convert them before")
    if image.is_floating_point() and image.numel():
        low, high = image.aminmax()
        if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
            raise ValueError(f"expected pixels in [0, 1], got {low:.3g} to {high:.3g}; put Normalize after this")
    return image.as_subclass(Tensor)


def _checked_chance(p: float) -> float:
    if not 0 <= p <= 1:
        raise ValueError(f"p must be a probability from 0 to 1, got {p}")
    return p


def _as_bytes(pixels: Tensor) -> Tensor:
    return (pixels.clamp(0, 1) * 255).round().byte() if pixels.is_floating_point() else pixels


def _reencoded(pixels: Tensor, quality: int) -> Tensor:
    decoded = [through_jpeg(image, quality) for image in pixels.reshape(-1, *pixels.shape[-3:])]
    return torch.stack(decoded).reshape(pixels.shape).to(pixels.device) if decoded else pixels


def _flat_picture(picture: Image.Image, colour: Sequence[int]) -> Image.Image:
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    ground = Image.new("RGBA", picture.size, (*colour, 255))
    return Image.alpha_composite(ground, picture.convert("RGBA")).convert("RGB")


def _flat_tensor(pixels: Tensor, colour: Sequence[int]) -> Tensor:
    *lead, n_channels, height, width = pixels.shape
    if not 1 <= n_channels <= 4:
        raise ValueError(f"expected grey or RGB with or without alpha, 1 to 4 channels, got {n_channels}")
    if n_channels in (1, 3):
        return pixels if n_channels == 3 else pixels.repeat_interleave(3, -3)
    most = 1 if pixels.is_floating_point() else 255
    values = pixels if pixels.is_floating_point() else pixels.float()
    ground = values.new_tensor(colour)[:, None, None] * most / 255
    front = values[..., :-1, :, :].expand(*lead, 3, height, width)
    blended = ground.lerp(front, values[..., -1:, :, :] / most)  # at 0 and 1 its ends, to the bit
    return blended if pixels.is_floating_point() else blended.round().byte()


def _in_front(pixels: Tensor, mask: Tensor, colours: Tensor) -> Tensor:
    """The pixels inside the mask, and outside it the colours, blended into each other."""
    inside = _inside(mask, pixels).to(pixels.device)
    ground = F.interpolate(
        colours.reshape(-1, *colours.shape[-3:]), pixels.shape[-2:], mode="bilinear", align_corners=True
    )
    ground = ground if pixels.is_floating_point() else (ground * 255).round()
    return torch.where(inside, pixels, ground.reshape(pixels.shape).to(pixels))


def _inside(mask: Tensor, pixels: Tensor) -> Tensor:
    """``(..., 1, H, W)`` True on the object, of any of its parts."""
    lead, size = pixels.shape[:-3], pixels.shape[-2:]
    if mask.shape == (*lead, *size):
        return (mask != 0).unsqueeze(-3)
    if mask.ndim == pixels.ndim and mask.shape[:-3] == lead and mask.shape[-2:] == size:
        return (mask != 0).any(-3, keepdim=True)
    expected = f"{(*lead, *size)} or {(*lead, 'k', *size)}"
    raise ValueError(f"the mask of pictures {tuple(pixels.shape)} must be {expected}, got {tuple(mask.shape)}")
