"""Detectors put to the runs that are kept; every result is a dictionary of JSON types."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_cam import Probe, maskers
from lightning_cam.spatial import boxes_to_masks, mask_boxes

from . import baselines, runs
from .detector import ALARMS, detector, watch
from .plan import Run

Scores = dict[str, Any]
RELIES = 0.2  # of truth: from here on a run relies on its cue
GIVEN = ("masks", "no masks")
PROBES = (*GIVEN, "masks guessed", "masks reviewed", "masks tightened")
STICKS_OUT = 0.02  # of an object: from here on a person is assumed to see it


def score(run: Run, cache: Path, leaves: Path | None, *, lag: bool, size: int) -> Scores:
    """Truth, the detector's answers with masks, without, with guessed ones and after a review, and the baselines'.

    ``lag`` looks at each epoch; ``size`` is how many images the detector sees, of which the baselines see 96.
    """
    path = runs.path_of(run, cache)
    record = runs.load(path)
    truth = truth_of(record, cache, leaves)
    probe = runs.probe_of(run, size, leaves)
    probes = dict(zip(PROBES, (probe, without_masks(probe), *guessed_and_reviewed(probe)), strict=True))
    said = {name: asdict(detector(record.model(), probe)) for name, probe in probes.items()}
    watched = lag and run.model == "small" and record.reliance >= RELIES and run.control != "untrained"
    return {
        "run": asdict(run),
        "truth": truth["reliance"],
        "n_probe": len(probe),
        "validation": truth["validation"],
        "named_right": {name: answer["cue"] in run.cue.names for name, answer in said.items()},
        "lag": {name: _lag(record, probes[name]) for name in GIVEN} if watched else {},
        "others": _kept(path.with_suffix(".baselines.json"), partial(_others, record, leaves)),
        **said,
    }


def truth_of(record: runs.Record, cache: Path, leaves: Path | None) -> Mapping[str, float]:
    """The truth at the end, on more held-out objects; measured once and kept beside the run."""
    path = runs.path_of(record.run, cache).with_suffix(".truth.json")
    return _kept(path, partial(runs.final_truth, record, leaves))


def without_masks(probe: Probe) -> Probe:
    """The same images without masks."""
    return Probe(probe.images, probe.targets, preprocess=probe.preprocess)


def guessed_and_reviewed(probe: Probe) -> tuple[Probe, Probe, Probe]:
    """With guessed masks; with these as a person leaves them who sees each object that sticks out; and made tighter."""
    cover, _ = maskers.guess(probe.images)
    corrected = reviewed(cover, probe.masks)
    tight = tightened(corrected, probe.masks)
    return _masked(probe, cover, "guess"), _masked(probe, corrected, "reviewed"), _masked(probe, tight, "reviewed")


def reviewed(cover: Tensor, masks: Tensor) -> Tensor:
    """The cover, with the box of each object that sticks out of it."""
    sticks_out = _sticks_out(masks, cover)
    boxes = boxes_to_masks(mask_boxes(masks), (masks.shape[1], masks.shape[2]))
    return cover | (boxes & sticks_out[:, None, None])


def tightened(cover: Tensor, masks: Tensor) -> Tensor:
    """The cover made tighter in steps of a pixel, as by the page's button, as long as no object sticks out."""
    while True:
        inner = ~(F.max_pool2d((~cover)[:, None].float(), 3, stride=1, padding=1)[:, 0] > 0)
        still_in = ~_sticks_out(masks, inner) & (inner != cover).flatten(1).any(1) & inner.flatten(1).any(1)
        if not still_in.any():
            return cover
        cover = torch.where(still_in[:, None, None], inner, cover)


def _sticks_out(masks: Tensor, cover: Tensor) -> Tensor:
    return (masks & ~cover).sum((1, 2)) > STICKS_OUT * masks.sum((1, 2))


def _masked(probe: Probe, masks: Tensor, source: str) -> Probe:
    sources = [source if mask.any() else "none" for mask in masks]
    return Probe(probe.images, probe.targets, masks=masks, mask_sources=sources, preprocess=probe.preprocess)


def _lag(record: runs.Record, probe: Probe) -> int | None:
    """Checks from the first at which the model relies on its cue to the first alarm; None without an alarm."""
    checks = [epoch for epoch in sorted(record.checkpoints) if epoch > 0]
    alarms = [detection.outcome in ALARMS for detection in watch(map(record.model, checks), probe)]
    relies = [record.truth[epoch]["reliance"] >= RELIES for epoch in checks]
    return alarms.index(True) - relies.index(True) if any(alarms) else None


def _others(record: runs.Record, leaves: Path | None) -> dict[str, float]:
    """The baselines' scores."""
    return baselines.attention_scores(record) | baselines.data_scores(runs.train_pictures(record.run, leaves))


def _kept(path: Path, make: Callable[[], Mapping[str, float]]) -> Mapping[str, float]:
    """What does not change between detectors, made once and kept beside the run."""
    if not path.exists():
        path.write_text(json.dumps(make()))
    return json.loads(path.read_text())
