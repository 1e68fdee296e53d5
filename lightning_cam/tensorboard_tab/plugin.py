"""The plugin that TensorBoard loads. It reads through TensorBoard's data provider, and answers four addresses."""

from argparse import Namespace
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tensorboard import plugin_util
from tensorboard.backend import http_util
from tensorboard.data.provider import RunTagFilter
from tensorboard.plugins import base_plugin
from werkzeug import Request

from .. import front
from .events import CHECK, MOST_EVENTS, PLUGIN, PORTRAITS, WORDS, name_of, page, tag_of

NOT_READABLE = (
    "This run cannot be shown. Its events are damaged, or they are of another version of lightning_cam than the one "
    "that TensorBoard runs with. The file report.html of the run shows the same."
)


class AttentionLoader(base_plugin.TBLoader):  # type: ignore[misc]  # TensorBoard has no types
    """Makes the plugin, and has TensorBoard keep every check without a flag."""

    def fix_flags(self, flags: Namespace) -> None:
        """What a user chose for this plugin stays."""
        flags.samples_per_plugin = {PLUGIN: MOST_EVENTS, **(flags.samples_per_plugin or {})}

    def load(self, context: base_plugin.TBContext) -> "AttentionPlugin":
        """The plugin."""
        return AttentionPlugin(context)


class AttentionPlugin(base_plugin.TBPlugin):  # type: ignore[misc]  # TensorBoard has no types
    """Shows the page of every run below the log folder that has events for it."""

    plugin_name = PLUGIN

    def __init__(self, context: base_plugin.TBContext) -> None:
        self._data = context.data_provider

    def is_active(self) -> bool:
        """Never asked for an answer of ours: where there are events of a plugin, TensorBoard shows its tab."""
        return False

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        """The module is loaded in a frame of its own, and keeps itself up to date."""
        return base_plugin.FrontendMetadata(es_module_path="/tab.js", tab_name="Attention", disable_reload=True)

    def get_plugin_apps(self) -> dict[str, Callable[..., Any]]:
        """The addresses, all below ``data/plugin/lightning_cam``."""
        answers: dict[str, Callable[[Request], Any]] = {
            "/tab.js": partial(_file, name="tab.js", kind="text/javascript"),
            "/tab.css": partial(_file, name="tab.css", kind="text/css"),
            "/runs": self._runs,
            "/page": self._page,
        }
        return {path: Request.application(answer) for path, answer in answers.items()}

    def _runs(self, request: Request) -> Any:
        """The runs, with the time of their last event. No event is read for it."""
        series = self._data.list_tensors(**_place(request))
        return http_util.Respond(request, {"runs": _listed(series)}, "application/json")

    def _page(self, request: Request) -> Any:
        """The page of one run."""
        run, name = request.args.get("run", ""), request.args.get("name", "")
        try:
            words, portraits, checks = (self._texts(request, run, tag_of(name, s)) for s in (WORDS, PORTRAITS, CHECK))
            html = page(words[-1], portraits[-1] if portraits else "", checks)
        except Exception:  # an event file may hold anything
            return http_util.Respond(request, NOT_READABLE, "text/plain")
        return http_util.Respond(request, html, "text/html", csp_scripts_sha256s=front.script_digests())

    def _texts(self, request: Request, run: str, tag: str) -> list[str]:
        """The events of a series, oldest first; none where there is no such series."""
        wanted = RunTagFilter(runs=[run], tags=[tag])
        series = self._data.read_tensors(**_place(request), downsample=MOST_EVENTS, run_tag_filter=wanted)
        return [event.numpy.item().decode() for event in series.get(run, {}).get(tag, ())]


def _place(request: Request) -> dict[str, Any]:
    """Which data a request is about."""
    environ = request.environ
    return {
        "ctx": plugin_util.context(environ),
        "experiment_id": plugin_util.experiment_id(environ),
        "plugin_name": PLUGIN,
    }


def _listed(series: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row per run and callback."""
    latest: dict[tuple[str, str], float] = {}
    for run, tags in series.items():
        for tag, times in tags.items():
            key = run, name_of(tag)
            latest[key] = max(latest.get(key, 0.0), times.max_wall_time)
    return [{"run": run, "name": name, "time": time} for (run, name), time in sorted(latest.items())]


def _file(request: Request, name: str, kind: str) -> Any:
    """A file of the front end."""
    return http_util.Respond(request, front.source(name), kind)
