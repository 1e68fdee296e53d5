"""A stand-in for W&B's server, just large enough for its own client to keep a run on it."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

ENTITY = "someone"


class WandbServer:
    """Answers on 127.0.0.1 and keeps what it was sent; ``with`` starts and stops it.

    Attributes:
        url: What ``WANDB_BASE_URL`` has to be.
        files: Bodies of the uploads, by the file's path in the run.
        artifact_files: Bodies of the uploads to artifacts, by the file's path in the artifact.
        lines: Text lines that were streamed, by the streamed file's name and the line's number.
        operations: Names of the GraphQL operations, in the order of asking.
        config: The run's config as it was last sent; W&B keeps the names of a mask's values there.
        exit_code: What the run ended with; None while it goes on.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.artifact_files: dict[str, bytes] = {}
        self.lines: dict[str, dict[int, str]] = {}
        self.operations: list[str] = []
        self.config: dict[str, Any] = {}
        self.exit_code: int | None = None
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> "WandbServer":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.go_away()

    def go_away(self) -> None:
        """From now on connections are refused. May be called twice."""
        if self._thread.is_alive():
            self._http.shutdown()
            self._http.server_close()
            self._thread.join()

    def history(self) -> list[dict[str, Any]]:
        """The rows that were streamed, in the order of logging."""
        lines = self.lines.get("wandb-history.jsonl", {})
        return [json.loads(lines[number]) for number in sorted(lines)]

    def answer(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        """Keeps one request and says what the client needs to go on."""
        if path == "/graphql":
            return {"data": self._ask(json.loads(body))}
        if method == "PUT" and path.startswith("/file/"):
            self.files[path.removeprefix("/file/")] = body
        elif method == "PUT" and path.startswith("/artifact/"):
            self.artifact_files[path.removeprefix("/artifact/")] = body
        elif path.endswith("/file_stream"):
            self._stream(json.loads(body))
        return {}

    def _stream(self, sent: dict[str, Any]) -> None:
        for name, chunk in (sent.get("files") or {}).items():
            numbered = enumerate(chunk["content"], start=chunk["offset"])
            self.lines.setdefault(name, {}).update(numbered)
        if sent.get("complete"):
            self.exit_code = sent["exitcode"]

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """What is not known here is null, which GraphQL allows: a run to resume, the server's features, an artifact."""
        name = question["operationName"]
        self.operations.append(name)
        answers = {
            "Viewer": _viewer,
            "UpsertBucket": self._run,
            "CreateRunFiles": self._file_urls,
            "CreateArtifact": _artifact,
            "CreateArtifactManifest": self._manifest,
            "CreateArtifactFiles": self._artifact_urls,
            "CommitArtifact": _committed,
        }
        if name in answers:
            return answers[name](question.get("variables") or {})
        return {"model": None, "serverInfo": None, "project": None}

    def _run(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.config = json.loads(asked["config"] or "{}")
        project = {"id": "project", "name": asked["project"], "entity": {"id": "entity", "name": ENTITY}}
        run = {"id": "run", "name": asked["name"], "displayName": asked["name"], "project": project}
        return {"upsertBucket": {"bucket": run, "inserted": True}}

    def _file_urls(self, asked: dict[str, Any]) -> dict[str, Any]:
        files = [{"name": name, "uploadUrl": f"{self.url}/file/{name}"} for name in asked["files"]]
        return {"createRunFiles": {"runID": "run", "uploadHeaders": [], "files": files}}

    def _manifest(self, asked: dict[str, Any]) -> dict[str, Any]:
        file = {"id": "file", "uploadUrl": f"{self.url}/artifact/{asked['name']}", "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": "manifest", "file": file}}}

    def _artifact_urls(self, asked: dict[str, Any]) -> dict[str, Any]:
        nodes = [
            {
                "storagePath": file["name"],
                "uploadUrl": f"{self.url}/artifact/{file['name']}",
                "uploadHeaders": [],
                "uploadMultipartUrls": None,
                "artifact": {"id": file["artifactID"]},
            }
            for file in asked["input"]["artifactFiles"]
        ]
        return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}


def _viewer(asked: dict[str, Any]) -> dict[str, Any]:
    teams: dict[str, Any] = {"edges": []}
    return {"viewer": {"id": "user", "entity": ENTITY, "username": ENTITY, "email": "", "flags": "{}", "teams": teams}}


def _artifact(asked: dict[str, Any]) -> dict[str, Any]:
    sequence = {"latestArtifact": None}
    return {"createArtifact": {"artifact": {"id": "artifact", "state": "PENDING", "artifactSequence": sequence}}}


def _committed(asked: dict[str, Any]) -> dict[str, Any]:
    return {"commitArtifact": {"artifact": {"id": asked["artifactID"], "digest": ""}}}


def _handler(server: WandbServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """One request per connection (HTTP/1.0): none outlives a server that went away."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            reply = json.dumps(server.answer(self.command, self.path, body)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        do_PUT = do_GET = do_POST  # noqa: N815 - as above

        def log_message(self, *args: Any) -> None:
            """Says nothing."""

    return Handler
