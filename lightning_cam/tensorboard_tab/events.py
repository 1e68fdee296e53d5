"""What a run writes for the tab: three series of JSON, one event per check. Here they are named, written and read."""

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .. import front

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

PLUGIN = "lightning_cam"
LAYOUT = b"1"  # of these series
# ``words`` is all that the page says beside the maps, ``portraits`` the probes, and ``check`` the maps of one check.
WORDS, PORTRAITS, CHECK = "words", "portraits", "check"
# Of a series; a check of 16 probes has 2 kB. TensorBoard keeps 100 events by itself, and 10 without its fast loader.
MOST_EVENTS = 1000


def tag_of(name: str, series: str) -> str:
    """Tag of a series. The full stop keeps it apart from pictures of any name: those begin with ``<name>/``.

    >>> tag_of("cam", CHECK)
    'cam.check'
    """
    return f"{name}.{series}"


def name_of(tag: str) -> str:
    """Which callback a series is of."""
    return tag.rpartition(".")[0]


def summary(tag: str, text: str) -> "Summary":
    """An event of a series."""
    from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_TENSOR, Summary, SummaryMetadata  # takes a second
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING

    plugin = SummaryMetadata.PluginData(plugin_name=PLUGIN, content=LAYOUT)
    # Without the data class TensorBoard drops the events, and says nothing.
    metadata = SummaryMetadata(plugin_data=plugin, data_class=DATA_CLASS_TENSOR)
    tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()], tensor_shape=TensorShapeProto())
    return Summary(value=[Summary.Value(tag=tag, metadata=metadata, tensor=tensor)])


def page(words: str, portraits: str, checks: Iterable[str]) -> str:
    """The page of a run, as the last ``words`` and ``portraits`` and all checks so far give it.

    Raises:
        Exception: Of any kind: an event file may hold anything, and its words may be those of another version.
    """
    shown = json.loads(portraits) if portraits else None
    n_probes = len(shown["probes"]) if shown else 0
    entries = {int(entry["step"]): entry for entry in map(json.loads, checks) if _fits(entry, n_probes)}
    lines = [front.embedded(entry) for _, entry in sorted(entries.items())]
    said = json.loads(words)
    blocks = {"mistakes": front.embedded(said.get("mistakes")), "portraits": front.embedded(shown)}
    return front.report({**said, **blocks, "checks": f"[{','.join(lines)}]"})


def _fits(entry: Mapping[str, Any], n_probes: int) -> bool:
    """Whether a check is of as many probes as there are portraits; a run that was resumed may show others."""
    return len(entry.get("predicted", range(n_probes))) == n_probes
