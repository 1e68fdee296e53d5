"""As much of Comet's server as an experiment asks for, on this machine alone. It keeps what it was sent."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def mortal_comet_server() -> Iterator[tuple[str, list[str], Callable[[], None]]]:
    """Its address, the paths that were asked for, and what makes it go away: then connections are refused."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"  # no connection outlives its answer, so that none outlives the server

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append(self.path.split("?")[0])
            answer = json.dumps({"msg": "ok", "code": 200, **opened(uri)}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_PUT = do_POST  # noqa: N815 - names that http.server looks for

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    uri = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    is_gone = threading.Event()

    def go_away() -> None:
        if not is_gone.is_set():
            is_gone.set()
            server.shutdown()
            server.server_close()

    try:
        yield uri, asked, go_away
    finally:
        go_away()


def opened(uri: str) -> dict[str, object]:
    """What an experiment is told when it begins; it ignores the same at other questions."""
    prefixes = ("asset_url", "image_url")
    uploads = {f"upload_{kind}_{name}_prefix": uri for kind in ("web", "api") for name in prefixes}
    names = {"fullName": "w/p", "workspaceName": "w", "projectName": "p", "projectId": "p"}
    return {
        **names,
        **uploads,
        "experimentId": "e",
        "runId": "r",
        "offset": 0,
        "featureToggles": {},
        "version": "9.9.9",
    }
