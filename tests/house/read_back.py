"""Reads what loggers wrote: TensorBoard event files, and W&B runs that were made offline."""

import json
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import wandb
from numpy.typing import NDArray
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto import wandb_internal_pb2

from lightning_cam.sinks import headings


class Shown(NamedTuple):
    """A picture that was read back."""

    step: int
    pixels: NDArray[np.uint8]
    caption: str = ""


# ---- TensorBoard -----------------------------------------------------------------------------------------------------


def tensorboard_events(folder: Path) -> EventAccumulator:
    """Everything in the event files of ``folder``; by default the reader would keep four pictures per tag."""
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "tensors": 0, "scalars": 0})
    events.Reload()
    return events


HEADINGS = (headings.USES, headings.LOOKS, headings.COSTS, headings.INTERVALS)


def key_of(tag: str) -> str:
    """A tag without the heading that our sinks put before a key."""
    heading, _, key = tag.partition("/")
    return key if heading in HEADINGS else tag


def tensorboard_images(folder: Path) -> dict[str, list[Shown]]:
    """Every picture by its key, in the order of writing."""
    events = tensorboard_events(folder)
    tags = events.Tags()["images"]
    return {key_of(tag): [Shown(e.step, _pixels(e.encoded_image_string)) for e in events.Images(tag)] for tag in tags}


def tensorboard_texts(folder: Path) -> dict[str, str]:
    """The last text of every tag, without the ``/text_summary`` that `add_text` appends."""
    events = tensorboard_events(folder)
    tags = [tag for tag in events.Tags()["tensors"] if tag.endswith("/text_summary")]
    last = {tag: events.Tensors(tag)[-1].tensor_proto.string_val[0].decode() for tag in tags}
    return {tag.removesuffix("/text_summary"): text for tag, text in last.items()}


def tensorboard_scalars(folder: Path) -> dict[str, dict[int, float]]:
    """Every scalar by its key and step."""
    events = tensorboard_events(folder)
    return {key_of(tag): {e.step: e.value for e in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


def _pixels(encoded: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(BytesIO(encoded)).convert("RGB"))


# ---- W&B -------------------------------------------------------------------------------------------------------------

BLOCK = 32768  # the transaction log is cut into blocks, as LevelDB's is
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def wandb_finish(run: Any) -> None:
    """Finishes an offline run. Its log is complete only when W&B's own process has ended."""
    run.finish()
    wandb.teardown()


def wandb_rows(folder: Path) -> list[dict[str, Any]]:
    """Every history row of the one offline run under ``folder``, in the order of logging. After `wandb_finish`."""
    records = (record for record in _records(_run_folder(folder)) if record.WhichOneof("record_type") == "history")
    return [_row(record.history) for record in records]


def _row(history: Any) -> dict[str, Any]:
    """Values by their key; what a media value consists of comes as items with the same first key."""
    row: dict[str, Any] = {}
    for item in history.item:
        first, *rest = [item.key] if item.key else item.nested_key
        if rest:
            row.setdefault(first, {})[".".join(rest)] = json.loads(item.value_json)
        else:
            row[first] = json.loads(item.value_json)
    return row


def wandb_alerts(folder: Path) -> list[Any]:
    """Every alert with its ``title``, ``text`` and ``level``, in the order of sending. After `wandb_finish`."""
    records = (record for record in _records(_run_folder(folder)) if record.WhichOneof("record_type") == "alert")
    return [record.alert for record in records]


def wandb_images(folder: Path, key: str) -> list[Shown]:
    """Every picture that was logged under ``key``, with the row's ``trainer/global_step`` and its caption."""
    shown = []
    for row in wandb_rows(folder):
        media = row.get(key, {})
        captions = media.get("captions") or [media.get("caption", "")]
        for file, caption in zip(_files(media), captions, strict=False):
            shown.append(Shown(row["trainer/global_step"], _pixels(wandb_file(folder, file).read_bytes()), caption))
    return shown


def wandb_masks(row: dict[str, Any], folder: Path, key: str) -> list[dict[str, NDArray[np.uint8]]]:
    """The masks of a row's pictures, by their names."""
    return [
        {name: _mask(wandb_file(folder, mask["path"]).read_bytes()) for name, mask in masks.items()}
        for masks in row[key]["all_masks"]
    ]


class Artifact(NamedTuple):
    """An artifact's name, and its files by their path in it."""

    name: str
    files: dict[str, bytes]


def wandb_artifacts(folder: Path, kind: str) -> list[Artifact]:
    """Every artifact of a kind, in the order of logging. After `wandb_finish`."""
    records = [record.artifact for record in _records(_run_folder(folder)) if record.HasField("artifact")]
    return [
        Artifact(each.name, {file.path: Path(file.local_path).read_bytes() for file in each.manifest.contents})
        for each in records
        if each.type == kind
    ]


def wandb_summary(folder: Path) -> dict[str, Any]:
    """What a list of runs shows of the run. After `wandb_finish`."""
    records = [record.summary for record in _records(_run_folder(folder)) if record.HasField("summary")]
    return {item.key: json.loads(item.value_json) for each in records for item in each.update if item.key}


def wandb_file(folder: Path, file: str) -> Path:
    """A media file by the path that a row gives."""
    return _run_folder(folder) / "files" / file


def _mask(encoded: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(BytesIO(encoded)))


def _files(media: dict[str, Any]) -> list[str]:
    return media["filenames"] if "filenames" in media else [media["path"]] if media else []


def _run_folder(folder: Path) -> Path:
    """Of the one run, which may have been meant to go online."""
    return next(folder.glob("wandb/*run-*"))


def _records(run: Path) -> Iterator[wandb_internal_pb2.Record]:
    log = next(run.glob("*.wandb")).read_bytes()
    assert log[:4] == b":W&B"
    for payload in _payloads(log):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(payload)
        yield record


def _payloads(log: bytes) -> Iterator[bytes]:
    """Chunks put together to records. A chunk is checksum u32, length u16, kind u8, data; none crosses a block."""
    at, parts = 7, b""
    while at + 7 <= len(log):
        if BLOCK - at % BLOCK < 7:
            at += BLOCK - at % BLOCK
            continue
        checksum, length, kind = struct.unpack_from("<IHB", log, at)
        data = log[at + 7 : at + 7 + length]
        assert zlib.crc32(bytes([kind]) + data) == checksum, f"the log is damaged at byte {at}"
        at += 7 + length
        parts = data if kind in (WHOLE, FIRST) else parts + data
        if kind in (WHOLE, LAST):
            yield parts
