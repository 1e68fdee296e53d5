"""Twins: the streaming metrics give what their functions give, however the samples arrive."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from house.processes import START
from lightning_cam import metrics
from lightning_cam.attribution import measures

TWINS = [
    (metrics.BackgroundAttentionRatio, measures.background_attention_ratio, 2),
    (metrics.BackgroundAttentionLift, measures.background_attention_lift, 2),
    (metrics.PointingAccuracy, measures.pointing_accuracy, 2),
    (metrics.BoxIoU, measures.box_iou, 2),
    (metrics.BorderAttentionRatio, measures.border_attention_ratio, 1),
    (metrics.AttentionEntropy, measures.attention_entropy, 1),
]
twins = pytest.mark.parametrize(
    ("twin", "measure", "n_inputs"), TWINS, ids=lambda value: getattr(value, "__name__", "")
)


def samples() -> tuple[Tensor, Tensor]:
    """Maps ``(12, 5, 7)`` and masks ``(12, 20, 21)``: two empty maps, and two missing masks."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(12, 5, 7, generator=generator).relu()
    maps[[1, 6]] = 0
    masks = torch.zeros(12, 20, 21, dtype=torch.bool)
    masks[:, 5:15, 3:12] = True
    masks[[2, 11]] = False
    return maps, masks


def assert_equal(value: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-6, equal_nan=True)


@twins
def test_one_batch_equals_the_function(twin: type[Metric], measure: Callable[..., Tensor], n_inputs: int) -> None:
    inputs, metric = samples()[:n_inputs], twin()

    metric.update(*inputs)

    assert_equal(metric.compute(), measures.nan_mean(measure(*inputs)))
    assert_equal(metric.defined(), (~measure(*inputs).isnan()).float().mean())


@twins
def test_batches_of_different_size_equal_the_function(
    twin: type[Metric], measure: Callable[..., Tensor], n_inputs: int
) -> None:
    inputs, metric = samples()[:n_inputs], twin()

    for start, end in [(0, 1), (1, 3), (3, 12)]:  # the second has nothing to say to a masked measure
        metric.update(*(each[start:end] for each in inputs))

    assert_equal(metric.compute(), measures.nan_mean(measure(*inputs)))


@twins
def test_forward_gives_the_batch_and_keeps_the_whole(
    twin: type[Metric], measure: Callable[..., Tensor], n_inputs: int
) -> None:
    inputs, metric = samples()[:n_inputs], twin()
    first, second = [each[:5] for each in inputs], [each[5:] for each in inputs]

    metric(*first)
    of_second = metric(*second)

    assert_equal(of_second, measures.nan_mean(measure(*second)))
    assert_equal(metric.compute(), measures.nan_mean(measure(*inputs)))


@twins
def test_reset_forgets(twin: type[Metric], measure: Callable[..., Tensor], n_inputs: int) -> None:
    inputs, metric = samples()[:n_inputs], twin()
    metric.update(*inputs)
    later = [each[3:6] for each in inputs]

    metric.reset()
    metric.update(*later)

    assert_equal(metric.compute(), measures.nan_mean(measure(*later)))
    assert metric.defined() == 1


@twins
def test_a_pickled_metric_goes_on_where_it_was(
    twin: type[Metric], measure: Callable[..., Tensor], n_inputs: int
) -> None:
    inputs, metric = samples()[:n_inputs], twin()
    metric.update(*(each[:5] for each in inputs))

    copy = pickle.loads(pickle.dumps(metric))
    copy.update(*(each[5:] for each in inputs))

    assert_equal(copy.compute(), measures.nan_mean(measure(*inputs)))


@twins
def test_a_saved_state_goes_on_in_a_fresh_metric(
    twin: type[Metric], measure: Callable[..., Tensor], n_inputs: int
) -> None:
    inputs, metric, fresh = samples()[:n_inputs], twin(), twin()
    metric.persistent(True)
    fresh.persistent(True)
    metric.update(*(each[:5] for each in inputs))

    fresh.load_state_dict(metric.state_dict())
    fresh.update(*(each[5:] for each in inputs))

    assert_equal(fresh.compute(), measures.nan_mean(measure(*inputs)))


@pytest.mark.parametrize(
    ("twin", "n_inputs"), [(twin, n) for twin, _, n in TWINS], ids=lambda value: getattr(value, "__name__", "")
)
def test_nothing_defined_is_nan_not_zero(twin: type[Metric], n_inputs: int) -> None:
    maps, masks = samples()
    metric = twin()

    metric.update(*(torch.zeros_like(maps), masks)[:n_inputs])

    assert metric.compute().isnan()
    assert metric.defined() == 0


def test_a_collection_keeps_apart_what_merely_started_alike() -> None:
    maps, masks = samples()
    collection = MetricCollection([metrics.PointingAccuracy(), metrics.BoxIoU(), metrics.AttentionEntropy()])

    collection.update(maps=maps, masks=torch.zeros_like(masks))  # no mask yet: two metrics are equal, with nothing
    collection.update(maps=maps, masks=masks)

    values = collection.compute()
    assert_equal(values["PointingAccuracy"], measures.nan_mean(measures.pointing_accuracy(maps, masks)))
    assert_equal(values["BoxIoU"], measures.nan_mean(measures.box_iou(maps, masks)))
    assert_equal(values["AttentionEntropy"], measures.nan_mean(measures.attention_entropy(maps)))


def test_double_precision_maps_are_taken() -> None:
    maps, masks = samples()
    metric = metrics.BackgroundAttentionRatio()

    metric.update(maps.double(), masks)

    assert_equal(metric.compute(), measures.nan_mean(measures.background_attention_ratio(maps, masks)))


def in_one_of_two_processes(rank: int, folder: str) -> None:
    """Sees an uneven share of the samples and writes what it computes for all of them."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    part = slice(0, 3) if rank == 0 else slice(3, None)
    results = {}
    for twin, _, n_inputs in TWINS:
        metric = twin()
        metric.update(*(each[part] for each in samples()[:n_inputs]))
        results[twin.__name__] = (metric.compute(), metric.defined(), metric.seen)
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_equal_the_function(tmp_path: Path) -> None:
    children = [START.Process(target=in_one_of_two_processes, args=(rank, str(tmp_path))) for rank in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()

    assert [child.exitcode for child in children] == [0, 0]
    for rank in range(2):
        results = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for twin, measure, n_inputs in TWINS:
            values = measure(*samples()[:n_inputs])
            mean, defined, seen = results[twin.__name__]
            assert_equal(mean, measures.nan_mean(values))
            assert_equal(defined, (~values.isnan()).float().mean())
            assert seen == (3 if rank == 0 else 9)  # what a process has seen itself is its own again
