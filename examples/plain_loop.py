"""A training loop of your own, without a trainer, on pictures whose ground gives the class away.

With Lightning Fabric the same lines work on the module that `fabric.setup` returns.
"""

import torch
from torch import nn

from lightning_cam import Looker, Probe

SIZE = 32


def circles_and_squares(n, seed):
    """Bright squares (0) and circles (1), before a ground that is blue behind squares and green behind circles."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    images, targets, masks = torch.zeros(n, 3, SIZE, SIZE), torch.arange(n) % 2, []
    for image, target in zip(images, targets, strict=True):
        y, x = torch.randint(9, SIZE - 9, (2,), generator=generator).tolist()
        image += 0.2 * torch.rand(image.shape, generator=generator)
        image[2 - target] += 0.3  # the shortcut
        inside = (
            (rows - y) ** 2 + (columns - x) ** 2 < 40 if target else ((rows - y).abs() < 6) & ((columns - x).abs() < 6)
        )
        image[:, inside] = 0.8
        masks.append(inside)
    return images, targets, torch.stack(masks)


def main():
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(3, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 2)),
    )
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    images, targets, _ = circles_and_squares(512, seed=0)
    of_validation = circles_and_squares(96, seed=1)
    probe = Probe(of_validation[0], of_validation[1], masks=of_validation[2], classes=["square", "circle"])

    with Looker(probe, "runs/plain_loop") as looker:
        looker.look(model, step=0)
        for epoch in range(1, 5):
            for rows in torch.randperm(len(images)).split(32):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images[rows]), targets[rows]).backward()
                optimizer.step()
            scalars = looker.look(model, step=epoch)
            print(f"epoch {epoch}: shortcut score {scalars['cam/shortcut_score']:.2f}")
    print(looker.verdict.outcome)


if __name__ == "__main__":
    main()
