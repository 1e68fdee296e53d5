"""A small Vision Transformer in float64 that gives its matrices away, and both papers' formulas with loops."""

import torch
from torch import Tensor


def matrices(model, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits, and each block's attention ``(N, heads, T, T)`` of a `house.transformers.Small`, by hand."""
    tokens = model.stem(images).flatten(2).transpose(1, 2)
    if model.cls is not None:
        tokens = torch.cat([model.cls.expand(len(tokens), -1, -1), tokens], 1)
    tokens = tokens + model.places
    found = []
    for block in model.blocks:
        n, t, k = tokens.shape
        q, key, v = block.qkv(tokens).reshape(n, t, 3, 2, k // 2).permute(2, 0, 3, 1, 4)
        weights = torch.softmax(q @ key.transpose(2, 3) / (k // 2) ** 0.5, -1)
        weights.retain_grad()
        found.append(weights)
        tokens = tokens + block.out((weights @ v).transpose(1, 2).reshape(n, t, k))
    return model.head(tokens[:, 0] if model.cls is not None else tokens.mean(1)), found


def product(one: list[list[float]], other: list[list[float]]) -> list[list[float]]:
    n = len(one)
    return [[sum(one[i][k] * other[k][j] for k in range(n)) for j in range(n)] for i in range(n)]


def eye(n: int) -> list[list[float]]:
    return [[float(i == j) for j in range(n)] for i in range(n)]


def rollout(attentions: list[Tensor]) -> list[list[float]]:
    """Abnar and Zuidema 2020, for one image: each ``(heads, T, T)``."""
    flow = eye(attentions[0].shape[-1])
    for heads in attentions:
        mean = [
            [float(sum(head[i, j] for head in heads)) / len(heads) for j in range(len(flow))] for i in range(len(flow))
        ]
        mixed = [[0.5 * mean[i][j] + 0.5 * (i == j) for j in range(len(flow))] for i in range(len(flow))]
        flow = product(mixed, flow)
    return flow


def relevance(attentions: list[Tensor], gradients: list[Tensor]) -> list[list[float]]:
    """Chefer et al. 2021, ICCV, eq. 5 and 6, for one image."""
    flow = eye(attentions[0].shape[-1])
    for heads, slopes in zip(attentions, gradients, strict=True):
        n = len(flow)
        mean = [
            [
                sum(max(float(h[i, j] * s[i, j]), 0.0) for h, s in zip(heads, slopes, strict=True)) / len(heads)
                for j in range(n)
            ]
            for i in range(n)
        ]
        added = product(mean, flow)
        flow = [[flow[i][j] + added[i][j] for j in range(n)] for i in range(n)]
    return flow
