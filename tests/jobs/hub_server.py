"""A small Hub on this machine: what huggingface_hub asks for when a model is read or written.

The addresses and answers are those that the library of this version uses; the library itself runs
as it is, over HTTP.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

Commit = dict[str, bytes]


@dataclass
class Repo:
    private: bool
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def at(self, revision: str) -> str | None:
        return self.branches.get(revision, revision if revision in self.commits else None)

    def commit(self, files: Commit, branch: str = "main") -> str:
        content = b"".join(name.encode() + files[name] for name in sorted(files))
        sha = hashlib.sha1(f"{len(self.commits)}".encode() + content).hexdigest()
        self.commits[sha] = dict(files)
        self.branches[branch] = sha
        return sha


@dataclass
class Hub:
    """Its content, and what was asked of it."""

    address: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)


@contextmanager
def hub_server() -> Iterator[Hub]:
    """Serve a Hub; its address is free until the end."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(hub))
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler_of(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def answer(self, data: object = None, code: int = 200, **headers: str) -> None:
            body = data if isinstance(data, bytes) else json.dumps(data).encode()
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def route(self) -> None:
            parts = unquote(urlsplit(self.path).path).strip("/").split("/")
            hub.asked.append(f"{self.command} /{'/'.join(parts)}")
            content = self.body()
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if parts[:3] == ["api", "repos", "create"]:
                self.create(json.loads(content), token)
            elif parts == ["api", "validate-yaml"]:
                card = json.loads(content)["content"]
                assert card.startswith("---\n")
                self.answer({"errors": [], "warnings": []})
            elif parts[0] == "large":
                hub.large[parts[1]] = content
                self.answer()
            elif parts[:2] == ["api", "models"]:
                self.of_repo("/".join(parts[2:4]), parts[4:], content, token)
            else:
                name = "/".join(parts[:2]).removesuffix(".git")
                self.of_repo(name, parts[2:], content, token)

        do_GET = do_HEAD = do_POST = do_PUT = route  # noqa: N815

        def create(self, asked: dict, token: str) -> None:
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else ""
            name = name or f"somebody/{asked['name']}"
            if token not in hub.tokens:
                self.answer({"error": "Invalid username or password."}, 401)
                return
            if name in hub.repos:
                self.answer({"url": f"{hub.address}/{name}"}, 409)
                return
            private = asked.get("private", asked.get("visibility") == "private")
            hub.repos[name] = Repo(bool(private))
            hub.repos[name].commit({".gitattributes": b""})
            self.answer({"url": f"{hub.address}/{name}"})

        def of_repo(self, name: str, rest: list[str], content: bytes, token: str) -> None:
            repo = hub.repos.get(name)
            if repo is None or (repo.private and token not in hub.tokens):
                self.answer({"error": "no"}, 401, X_Error_Code="RepoNotFound")
                return
            action = rest[0] if rest else "revision"
            if action == "info":
                self.batch(json.loads(content))
                return
            sha = repo.at(rest[1] if len(rest) > 1 else "main")
            if sha is None:
                self.answer({"error": "no"}, 404, X_Error_Code="RevisionNotFound")
                return
            files = repo.commits[sha]
            if action == "revision":
                siblings = [{"rfilename": n, "size": len(d)} for n, d in files.items()]
                self.answer({"id": name, "sha": sha, "private": repo.private, "siblings": siblings})
            elif action == "tree":
                rows = [
                    {"type": "file", "path": n, "size": len(d), "oid": hashlib.sha1(d).hexdigest()}
                    for n, d in files.items()
                ]
                self.answer(rows, X_Repo_Commit=sha)
            elif action == "preupload":
                each = [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                        "shouldIgnore": False,
                    }
                    for file in json.loads(content)["files"]
                ]
                self.answer({"files": each})
            elif action == "commit":
                self.commit(name, repo, files, rest[1], content)
            elif action == "resolve":
                data = files.get("/".join(rest[2:]))
                if data is None:
                    self.answer({"error": "no"}, 404, X_Error_Code="EntryNotFound")
                else:
                    etag = f'"{hashlib.sha256(data).hexdigest()}"'
                    self.answer(data, ETag=etag, X_Repo_Commit=sha, Accept_Ranges="bytes")
            else:
                self.answer({"error": f"unknown: {self.path}"}, 404)

        def batch(self, asked: dict) -> None:
            rows = [
                {**each, "actions": {"upload": {"href": f"{hub.address}/large/{each['oid']}"}}}
                for each in asked["objects"]
            ]
            self.answer({"transfer": "basic", "objects": rows})

        def commit(self, name: str, repo: Repo, files: Commit, to: str, content: bytes) -> None:
            made = dict(files)
            for line in content.splitlines():
                entry = json.loads(line)
                value = entry["value"]
                if entry["key"] == "file":
                    made[value["path"]] = base64.b64decode(value["content"])
                elif entry["key"] == "lfsFile":
                    made[value["path"]] = hub.large[value["oid"]]
                elif entry["key"] == "deletedFile":
                    del made[value["path"]]
            sha = repo.commit(made, to)
            address = f"{hub.address}/{name}/commit/{sha}"
            self.answer({"commitUrl": address, "commitOid": sha, "hookOutput": ""})

    return Handler
