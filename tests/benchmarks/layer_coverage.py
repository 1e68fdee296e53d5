"""Which layer `find_layer` takes on every classifier of torchvision and on the families of timm, and if its map works.

    python tests/benchmarks/layer_coverage.py            writes tests/layer_coverage.json

Models have random weights and the smallest input that leaves them a map of some size. A few steps of SGD on random data
follow, so that no head is all zero: of the whole model, or, above `GIANT` parameters, of the last module that has any.
"""

import gc
import json
import resource
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_cam.attribution import cams
from lightning_cam.attribution.engine import capture
from lightning_cam.attribution.guard import untouched
from lightning_cam.attribution.layer_search import find_layer
from lightning_cam.attribution.outputs import as_logits
from lightning_cam.attribution.targets import predicted_class

TABLE = Path(__file__).parent.parent / "layer_coverage.json"
GIANT = 30_000_000


# Input sizes. Torchvision's models take 64 pixels and more; a Vision Transformer is built for its size.
TORCHVISION_SIZES = {
    "inception_v3": 160,
    "maxvit_t": 224,
    "vit_b_16": 64,
    "vit_b_32": 96,
    "vit_h_14": 56,
    "vit_l_16": 64,
    "vit_l_32": 96,
}
# timm: models that take images of any size, models that are built for one, models that have one.
TIMM_FREE = {
    96: """caformer_s18 convmixer_768_32 convnext_atto convnextv2_atto cs3darknet_s cspdarknet53 darknet53 davit_tiny
        densenet121 dla34 dm_nfnet_f0 dpn68 eca_resnet33ts ecaresnet26t edgenext_xx_small efficientnet_b0
        efficientnetv2_rw_t efficientvit_b0 ese_vovnet19b_dw fasternet_t0 fastvit_t8 fbnetc_100 focalnet_tiny_srf
        ghostnet_100 ghostnetv2_100 hardcorenas_a hgnet_tiny hrnet_w18_small iformer_t inception_next_atto
        lambda_resnet26t lcnet_050 legacy_xception lowformer_b0 mambaout_femto mixnet_s mnasnet_100 mobilenetv2_050
        mobilenetv3_small_050 mobilenetv4_conv_small mobileone_s0 mobilevit_xxs mobilevitv2_050 nextvit_small
        nf_regnet_b1 nf_resnet50 poolformer_s12 poolformerv2_s12 pvt_v2_b0 rdnet_tiny regnetx_002 regnety_002
        repghostnet_050 repvgg_a0 repvit_m0_9 res2net50_26w_4s resnest14d resnet18 resnet50_clip resnet50d
        resnetv2_50 resnext50_32x4d rexnet_100 semnasnet_075 seresnet50 skresnet18 starnet_s1 swiftformer_xs
        tf_efficientnet_lite0 tf_efficientnetv2_b0 tiny_vit_5m_224 tinynet_e tresnet_m vgg11_bn vovnet39a
        wide_resnet50_2 xception41""",
    112: "vit_intern300m_patch14_448",
    128: """csatv2 efficientvim_m1 efficientvit_m0 mvitv2_tiny selecsls42 sequencer2d_s shvit_s1 twins_pcpvt_small
        twins_svt_small vit_small_patch16_dinov3 xcit_nano_12_p16_224""",
    160: "inception_resnet_v2 inception_v3 inception_v4 nasnetalarge pnasnet5large",
}
TIMM_SIZED = {
    56: "eva02_tiny_patch14_224 vit_small_patch14_reg4_dinov2",
    64: """beit_base_patch16_224 beitv2_base_patch16_224 cait_xxs24_224 coatnet_0_rw_224 coatnet_rmlp_nano_rw_224
        convit_tiny deit3_small_patch16_224 deit_tiny_distilled_patch16_224 deit_tiny_patch16_224
        eva02_base_patch16_clip_224 gmlp_ti16_224 mixer_s16_224 resmlp_12_224 tnt_s_patch16_224
        vit_base_patch16_siglip_224 vit_base_r50_s16_224 vit_mediumd_patch16_reg4_gap_256
        vit_pe_core_tiny_patch16_384 vit_relpos_small_patch16_224 vit_small_patch16_224 vit_tiny_patch16_224
        vitamin_small_224""",
    96: """coat_lite_tiny coat_tiny efficientformerv2_s0 visformer_tiny vit_base_patch32_clip_224 vit_small_patch32_224
        volo_d1_224""",
    112: """levit_128s levit_conv_128s nest_tiny pit_ti_224 pit_ti_distilled_224 swin_s3_tiny_224
        swin_tiny_patch4_window7_224 swinv2_cr_tiny_224""",
    128: "botnet26t_256 maxvit_rmlp_pico_rw_256 swinv2_tiny_window8_256",
}
TIMM_NATIVE = {
    224: "efficientformer_l1 gcvit_xxtiny hiera_tiny_224 hieradet_small samvit_base_patch16_224",
    240: "crossvit_tiny_240",
    256: "halonet26t",
    384: "naflexvit_base_patch16_gap",
}


@dataclass(frozen=True)
class Row:
    """What was found on one model: its layer, and the sizes of input and map. ``options`` are the builder's."""

    library: str
    model: str
    input_size: int
    options: dict[str, Any]
    layer: str = ""
    map_size: tuple[int, int] = (0, 0)
    working: bool = False


def rows() -> Iterator[Row]:
    """All models, nothing looked at yet."""
    for name in torchvision.models.list_models(module=torchvision.models):
        size = TORCHVISION_SIZES.get(name, 64)
        yield Row("torchvision", name, size, _options(name, size))
    for kinds, is_sized in ((TIMM_FREE, False), (TIMM_SIZED, True), (TIMM_NATIVE, False)):
        for size, names in kinds.items():
            for name in names.split():
                yield Row("timm", name, size, {"img_size": size} if is_sized else {})


def _options(name: str, size: int) -> dict[str, Any]:
    """Of torchvision's builders: a size of image, and no second head, which needs larger images than the first."""
    if name.startswith("vit_"):
        return {"image_size": size}
    return {"init_weights": False, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}


def table() -> list[Row]:
    """The rows of the fixture."""
    stored = json.loads(TABLE.read_text())
    return [Row(**{**row, "map_size": tuple(row["map_size"])}) for row in stored]


def build(row: Row) -> nn.Module:
    """The model, with random weights."""
    if row.library == "timm":
        return timm.create_model(row.model, **row.options)
    return torchvision.models.get_model(row.model, weights=None, **row.options)


def looked_at(row: Row, *, n_steps: int) -> Row:
    """The row as it is now: the layer that is found on an untrained model, and its map after ``n_steps`` of SGD."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build(row).eval()
        images = torch.rand(2, 3, row.input_size, row.input_size)
        with untouched(model):
            layer = find_layer(model, images)
        train(model, images, n_steps)
        seen = capture(model, images, [predicted_class()], layer=layer)
    maps = cams.grad_cam(seen.activations, seen.gradients[0]) + cams.grad_cam(seen.activations, -seen.gradients[0])
    varied = maps.amax((1, 2)) > 1.001 * maps.amin((1, 2))
    return replace(
        row, layer=layer, map_size=tuple(maps.shape[1:]), working=bool(maps.isfinite().all() and varied.all())
    )


def train(model: nn.Module, images: Tensor, n_steps: int) -> None:
    """SGD towards two classes. BatchNorm takes its statistics there, or deep maps fade to a constant."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
    model.train()
    trained = _trained(model)
    optimizer = torch.optim.SGD(trained, lr=0.1)
    for _ in range(n_steps):
        optimizer.zero_grad()
        F.cross_entropy(as_logits(model(images)), torch.tensor([0, 1])).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
    model.eval()


def _trained(model: nn.Module) -> list[nn.Parameter]:
    everything = list(model.parameters())
    if sum(map(Tensor.numel, everything)) <= GIANT:
        return everything
    model.requires_grad_(requires_grad=False)
    head = [module for module in model.modules() if next(module.parameters(recurse=False), None) is not None][-1]
    return list(head.requires_grad_().parameters())


def main() -> None:
    """Writes the fixture, a row per line, and prints it with processor time and peak memory."""
    found = []
    started = time.process_time()
    for row in rows():
        before = time.process_time()
        found.append(looked_at(row, n_steps=2))
        gc.collect()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        r = found[-1]
        print(
            f"{r.library:11} {r.model:36} {r.input_size:4} {r.layer:44} {r.map_size[0]:2} x {r.map_size[1]:2} "
            f"{'ok ' if r.working else 'BAD'} {time.process_time() - before:5.1f} s {peak:4.1f} GiB",
            flush=True,
        )
    lines = ",\n".join(json.dumps(asdict(row)) for row in found)
    TABLE.write_text(f"[\n{lines}\n]\n")
    seconds = time.process_time() - started
    print(f"{sum(row.working for row in found)} of {len(found)} in {seconds:.0f} s of processor time")


if __name__ == "__main__":
    main()
