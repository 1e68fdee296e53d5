"""Several methods side by side: the same maps as one by one, from the passes of one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from house.methods import GRADIENT_METHODS
from house.models import Net, fixed, images
from lightning_cam import Probe, cams, examine
from lightning_cam.examination import look, merged

GRADIENT = [*(method for method in GRADIENT_METHODS if method is not cams.cam), cams.against(cams.grad_cam)]


def probe(n: int = 8) -> Probe:
    return Probe(images(n), torch.arange(n) % 4)


def named(method: Any) -> str:
    return getattr(method, "__name__", type(method).__qualname__)


@pytest.mark.parametrize("layer", [None, ["stage"]])
@pytest.mark.parametrize("batch_size", [3, 32])
def test_each_method_gives_the_maps_that_it_gives_alone(batch_size: int, layer: Any) -> None:
    model = fixed(Net)
    together = examine(
        model, probe(), methods=[*GRADIENT, cams.score_cam], trials=(), batch_size=batch_size, layer=layer
    )

    assert list(together.method_maps) == [named(method) for method in [*GRADIENT, cams.score_cam]]
    for method in [*GRADIENT, cams.score_cam]:
        alone = examine(model, probe(), method=method, trials=(), batch_size=batch_size, layer=layer)
        both = together.method_maps[named(method)]
        torch.testing.assert_close(both[0], alone.grid_maps)
        torch.testing.assert_close(both[1], alone.predicted_grid_maps)
    assert torch.equal(together.grid_maps, together.method_maps["grad_cam"][0])


def test_seven_methods_and_two_classes_take_the_passes_of_one_grad_cam() -> None:
    model, calls = fixed(Net), []

    def counted(net: nn.Module, inputs: Tensor) -> Tensor:
        calls.append(len(inputs))
        return net(inputs)

    counts = []
    for methods in ([], GRADIENT):
        calls.clear()
        examine(model, probe(), methods=methods, trials=(), forward=counted)
        counts.append(list(calls))

    assert counts[0] == counts[1]


def test_a_main_method_by_passes_stands_beside_one_by_gradients() -> None:
    model = fixed(Net)
    report = examine(model, probe(), method=cams.score_cam, methods=[cams.grad_cam], trials=())

    torch.testing.assert_close(report.method_maps["grad_cam"][0], examine(model, probe(), trials=()).grid_maps)
    torch.testing.assert_close(report.grid_maps, examine(model, probe(), method=cams.score_cam, trials=()).grid_maps)


def test_looks_at_parts_are_one_look_at_all() -> None:
    model = fixed(Net)
    options: dict[str, Any] = {
        "layer": "stage", "method": cams.grad_cam, "methods": [cams.layer_cam], "n_donors": 1, "forward": None,
        "batch_size": 4,
    }  # fmt: skip
    parts = [look(model, probe(), rows, (), **options) for rows in torch.arange(8).split(4)]
    whole = look(model, probe(), torch.arange(8), (), **options)

    torch.testing.assert_close(merged(parts).method_maps["layer_cam"], whole.method_maps["layer_cam"])
    assert whole.first(3).method_maps["layer_cam"].shape[:2] == (2, 3)


def test_the_page_of_a_report_shows_methods_side_by_side(tmp_path: Path) -> None:
    pages = []
    for methods in ((), (cams.layer_cam, cams.eigen_cam)):
        report = examine(fixed(Net), probe(), trials=(), methods=methods)
        report.to_html(tmp_path / "look.html")
        pages.append((tmp_path / "look.html").read_text())

    assert ["Methods side by side" in page for page in pages] == [False, True]
