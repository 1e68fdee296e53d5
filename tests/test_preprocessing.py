"""The step between a data set's pixels and a model's input is found from pairs of both."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

from lightning_cam.training.preprocessing import EXACT, explain, nearest, unexplained

GENERATOR = torch.Generator().manual_seed(0)
PIXELS = (torch.rand(16, 3, 32, 40, generator=GENERATOR) * 255).round() / 255
SEEN, UNSEEN = PIXELS[:8], PIXELS[8:]
BGR = [2, 1, 0]

STEPS: dict[str, Callable[[Tensor], Tensor]] = {
    "nothing": lambda x: x,
    "Normalize": v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    "minus one to one": lambda x: 2 * x - 1,
    "bytes": lambda x: (x * 255).round().to(torch.uint8),
    "0 to 255": lambda x: x * 255,
    "BGR": lambda x: x[:, BGR] * 255 - 100,
    "grey": lambda x: x.mean(1, keepdim=True),
    "luminance, three times": lambda x: v2.functional.rgb_to_grayscale(x, 3),
    "resized": lambda x: F.interpolate(x, (24, 24), mode="bilinear", antialias=True) * 2 - 1,
    "enlarged": lambda x: F.interpolate(x, (64, 64), mode="bilinear"),
    "bicubic": lambda x: F.interpolate(x, (24, 24), mode="bicubic", antialias=True),
    "cropped": lambda x: v2.functional.center_crop(x, [28, 28]) - 0.5,
    "short side, cropped": lambda x: v2.functional.center_crop(v2.functional.resize(x, [24]), [24, 24]),
    "channels last": lambda x: x.permute(0, 2, 3, 1) * 255,
    "each image by itself": lambda x: (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True),
    "half precision": lambda x: (x.half() - 0.5) / 0.25,
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_found_and_holds_for_other_images(name: str) -> None:
    step = explain(SEEN, STEPS[name](SEEN))

    assert step is not None
    assert unexplained(step(UNSEEN), STEPS[name](UNSEEN)) <= EXACT
    assert step(UNSEEN).dtype == STEPS[name](UNSEEN).dtype


def test_pillow_resizing_is_near_enough() -> None:
    def processed(images: Tensor) -> Tensor:
        pictures = [v2.functional.to_pil_image(image) for image in images]
        smaller = [v2.functional.pil_to_tensor(picture.resize((24, 24), 2)) for picture in pictures]
        return (torch.stack(smaller) / 255 - 0.5) / 0.25

    step = explain(SEEN, processed(SEEN))

    assert step is not None
    assert unexplained(step(UNSEEN), processed(UNSEEN)) < 0.02


def test_grey_pictures_do_not_mix_the_channels() -> None:
    grey = SEEN[:, :1].expand(-1, 3, -1, -1)
    step = explain(grey, (grey - 0.5) / 0.1)

    assert step is not None
    torch.testing.assert_close(step(UNSEEN), (UNSEEN - 0.5) / 0.1, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(SEEN.flip(0), id="other images"),
        pytest.param(SEEN.flip(3), id="mirrored"),
        pytest.param(SEEN.square().log1p() * torch.rand(8, 1, 1, 1), id="another function for each image"),
        pytest.param(SEEN[:4], id="fewer images"),
        pytest.param(SEEN * torch.nan, id="not a number"),
    ],
)
def test_what_is_no_such_step_is_not_explained(other: Tensor) -> None:
    assert explain(SEEN, other) is None


PALE = 0.3 + 0.4 * SEEN
NORMALIZE = v2.Normalize([0.5, 0.4, 0.3], [0.1, 0.1, 0.2])
RANDOM: dict[str, Callable[[Tensor], Tensor]] = {
    "flipped": lambda x: x.flip(3),
    "cropped": lambda x: x[..., :28, :28],
    "noisy": lambda x: x + 0.2 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)),
}


@pytest.mark.parametrize("name", RANDOM)
def test_code_that_comes_close_to_a_random_step(name: str) -> None:
    inputs = RANDOM[name](NORMALIZE(PALE))

    code = nearest(PALE, inputs)

    expected = v2.functional.center_crop(NORMALIZE(PALE), inputs.shape[-2:])
    assert unexplained(eval(code, {"v2": v2})(PALE), expected) < 0.05


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param(30 * (NORMALIZE(PALE) - 0.5) ** 3, id="of another kind"),
        pytest.param(PALE[:, :1], id="grey"),
        pytest.param((PALE * 255).byte(), id="bytes"),
    ],
)
def test_no_code_comes_close_to_what_is_no_such_step(inputs: Tensor) -> None:
    assert nearest(PALE, inputs) == ""
