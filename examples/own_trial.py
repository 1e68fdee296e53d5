"""Your own trial is a cue and its swap: here the bottom of a picture, where some cameras print the date."""

import torch
from torch import nn

from lightning_cam import Probe, examine, judge
from lightning_cam.intervention import DonorSwap, Trial


def swap_date(images, _masks, donors, _donor_masks):
    """The images ``(N, C, H, W)`` with the lowest eighth of their donors."""
    height = images.shape[2] // 8
    return torch.cat([images[:, :, :-height], donors[:, :, -height:]], 2)


if __name__ == "__main__":
    torch.manual_seed(0)
    images, targets = torch.rand(40, 3, 32, 32) / 2, torch.arange(40) % 2
    images[targets == 1, :, -4:] += 0.5  # pictures of the second class have a bright date
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), targets).backward()
        optimizer.step()
    # The same for CAMCallback(trials=[...]).
    print(judge(examine(model, Probe(images, targets), trials=[Trial("date", DonorSwap(swap_date))])))
