"""Pictures with the statistics of photographs, made of noise: amplitudes fall with frequency, channels go together."""

import io

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor, to_pil_image


def natural(n: int = 2, height: int = 64, width: int = 64, *, channels: int = 3, seed: int = 0) -> Tensor:
    """``(n, channels, height, width)`` in [0, 1], mean about 0.5; amplitude spectrum ``1 / frequency``."""
    generator = torch.Generator().manual_seed(seed)
    grey = torch.randn(n, 1, height, width, generator=generator)
    noise = grey + torch.randn(n, channels, height, width, generator=generator)
    rows, columns = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None]
    falling = 1 / (rows**2 + columns**2).sqrt().clamp_min(1 / max(height, width))
    smooth = torch.fft.irfft2(torch.fft.rfft2(noise) * falling, s=(height, width))
    smooth = (smooth - smooth.mean((2, 3), keepdim=True)) / smooth.std((2, 3), keepdim=True)
    return (0.5 + 0.15 * smooth).clamp(0, 1)


def through_jpeg(images: Tensor, quality: int) -> Tensor:
    """What Pillow makes of images of 1 or 3 channels."""
    decoded = []
    for image in images:
        file = io.BytesIO()
        to_pil_image((image * 255).round().byte()).save(file, "JPEG", quality=quality)
        with Image.open(file) as picture:
            decoded.append(pil_to_tensor(picture) / 255)
    return torch.stack(decoded)
