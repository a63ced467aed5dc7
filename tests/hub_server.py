"""A Hugging Face Hub on this machine: enough of its download protocol for the real client.

Served: `GET /api/models/{id}[/revision/{revision}]`, and `HEAD` and `GET` of
`/{id}/resolve/{revision}/{file}`, with the headers and error codes of the Hub and byte ranges.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]


@dataclass
class Repository:
    """A model on the server.

    Attributes:
        commits: files by commit hash, oldest first.
        refs: commit hash by branch or tag.
        token: what a request must bear; None serves everybody.
        gated: whether everybody sees the listing, and nobody the files.
    """

    commits: dict[str, Files] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    token: str | None = None
    gated: bool = False

    def commit(self, files: Files, *refs: str) -> str:
        """Add a commit, move the refs (main if none is named) to it, and return its hash."""
        content = repr((len(self.commits), sorted(files.items())))
        commit = hashlib.sha1(content.encode()).hexdigest()
        self.commits[commit] = files
        self.refs.update(dict.fromkeys(refs or ("main",), commit))
        return commit


@dataclass(frozen=True)
class Request:
    """What a client asked for."""

    method: str
    path: str
    range: str | None = None


class HubServer(ThreadingHTTPServer):
    """Serves `repositories`; remembers `requests`.

    Attributes:
        cuts: bytes after which the next download of a file breaks off, by file name.
        failure: a status that every request is answered with; None answers properly.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.requests: list[Request] = []
        self.cuts: dict[str, int] = {}
        self.failure: int | None = None
        self.is_stopped = False

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def stop(self) -> None:
        """Refuse connections, and hang up on open ones at their next request."""
        self.is_stopped = True
        self.shutdown()
        self.server_close()

    def downloads(self) -> list[str]:
        """Names of the files whose content was sent, in order."""
        return [
            r.path.rsplit("/", 1)[1] for r in self.requests if r.method == "GET" and _is_file(r)
        ]

    def model_requests(self) -> list[Request]:
        """Requests about models; the client asks for other things too."""
        return [r for r in self.requests if r.path.startswith("/api/models/") or _is_file(r)]


def _is_file(request: Request) -> bool:
    return "/resolve/" in request.path


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self) -> None:
        if self.server.is_stopped:
            self.close_connection = True
            return
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append(Request(self.command, path, self.headers["Range"]))
        if self.server.failure is not None:
            self._refuse(self.server.failure)
        elif path.startswith("/api/models/"):
            model, _, revision = path.removeprefix("/api/models/").partition("/revision/")
            self._send_listing(model, revision or "main")
        elif "/resolve/" in path:
            model, _, rest = path[1:].partition("/resolve/")
            self._send_file(model, *rest.split("/", 1))
        else:
            self._refuse(404)

    def _find(self, model: str, revision: str) -> tuple[Repository, str] | None:
        """The repository and commit; None after an error was sent."""
        repository = self.server.repositories.get(model)
        bearer = self.headers.get("Authorization")
        if repository is None or (repository.token and bearer != f"Bearer {repository.token}"):
            self._refuse(401 if bearer is None else 404, "RepoNotFound")
            return None
        commit = repository.refs.get(revision, revision)
        if commit not in repository.commits:
            self._refuse(404, "RevisionNotFound")
            return None
        return repository, commit

    def _send_listing(self, model: str, revision: str) -> None:
        if (found := self._find(model, revision)) is None:
            return
        repository, commit = found
        siblings = [{"rfilename": name} for name in repository.commits[commit]]
        body = json.dumps({"id": model, "sha": commit, "siblings": siblings}).encode()
        self._send(200, {"Content-Type": "application/json"}, body)

    def _send_file(self, model: str, revision: str, name: str) -> None:
        if (found := self._find(model, revision)) is None:
            return
        repository, commit = found
        if repository.gated:
            return self._refuse(403, "GatedRepo")
        content = repository.commits[commit].get(name)
        if content is None:
            return self._refuse(404, "EntryNotFound", {"X-Repo-Commit": commit})
        digest = hashlib.sha256(content).hexdigest()
        headers = {
            "X-Repo-Commit": commit,
            "ETag": f'"{digest}"',
            "X-Linked-ETag": f'"{digest}"',
            "X-Linked-Size": str(len(content)),
            "Accept-Ranges": "bytes",
        }
        status, start = 200, 0
        if (wanted := self.headers["Range"]) is not None:
            status, start = 206, int(wanted.removeprefix("bytes=").rstrip("-"))
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        cut = self.server.cuts.pop(name, None) if self.command == "GET" else None
        self._send(status, headers, content[start:], cut=cut)

    def _refuse(self, status: int, code: str = "", headers: dict[str, str] | None = None) -> None:
        codes = {"X-Error-Code": code, "X-Error-Message": code} if code else {}
        self._send(status, codes | (headers or {}), b"")

    def _send(
        self, status: int, headers: dict[str, str], body: bytes, *, cut: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:cut])
        if cut is not None:
            self.close_connection = True


@contextmanager
def serve() -> Iterator[HubServer]:
    """Run a server on a free port of 127.0.0.1 until the block ends."""
    with HubServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
