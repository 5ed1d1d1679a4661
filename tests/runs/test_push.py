"""``export --push`` against a stand-in for the Hub on this machine, which speaks the Hub's own protocol."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from holdfast import api
from holdfast.errors import HoldfastError
from holdfast.runs.push import check_name
from tests.support.desk import Desk

TOKEN = "hf_standin"


class Hub(ThreadingHTTPServer):
    """Keeps what is committed, in memory."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.made: list[Any] = []
        self.files: dict[str, bytes] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._say({"error": "who are you?"}, 401)
        if path == "/api/whoami-v2":
            return self._say({"name": "me", "type": "user"})
        if path == "/api/repos/create":
            self.server.made.append(json.loads(body))
            return self._say({"url": f"{self.server.address}/org/model", "id": "org/model"})
        if path == "/api/validate-yaml":
            return self._say({"errors": [], "warnings": []})
        if path.endswith("/preupload/main"):
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]
            ]
            return self._say({"files": files})
        if path.endswith("/commit/main"):
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    self.server.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            return self._say(
                {"commitUrl": f"{self.server.address}/org/model/commit/1", "commitOid": "1", "success": True}
            )
        return self._say({"sha": "0", "siblings": [], "id": "org/model", "private": True})

    def _say(self, value: Any, status: int = 200) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_llava: Path) -> Path:
    desk = Desk(tmp_path_factory.mktemp("desk"), tiny_llava, None)  # type: ignore[arg-type]
    config = desk.config(
        tune={"llm": {"method": "lora", "r": 2, "lr": 1e-2}, "connector": {"method": "full", "lr": 1e-2}},
        train={"steps": 2, "batch_size": 4, "trackers": []},
    )
    api.tune(config, desk.folder / "run")
    return desk.folder / "run"


def export(run: Path, out: Path, hub: str, *words: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    """In a process of its own, because huggingface_hub reads the address when it is imported."""
    environment = os.environ | {"HF_ENDPOINT": hub, "HF_TOKEN": token, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-m", "holdfast", "export", str(run), "--out", str(out), *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_everything_that_was_exported_is_uploaded(run: Path, hub: Hub, tmp_path: Path) -> None:
    said = export(run, tmp_path / "out", hub.address, "--adapter", "--apart", "--push", "org/model")
    assert said.returncode == 0, said.stderr
    written = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    assert hub.files == written and {"README.md", "adapter_model.safetensors", "full.safetensors"} <= written.keys()
    assert hub.made[0]["name"] == "model" and hub.made[0]["organization"] == "org"
    assert hub.made[0].get("private", hub.made[0].get("visibility")) in (True, "private")
    assert "Uploaded to" in said.stdout


def test_a_token_that_may_not_is_told_before_anything_is_written(run: Path, hub: Hub, tmp_path: Path) -> None:
    said = export(run, tmp_path / "out", hub.address, "--adapter", "--push", "org/model", token="hf_other")
    assert said.returncode == 2 and "Traceback" not in said.stderr and said.stderr.count("\n") == 1, said.stderr
    assert "token" in said.stderr and not (tmp_path / "out").exists()


def test_no_network(run: Path, tmp_path: Path) -> None:
    said = export(run, tmp_path / "out", "http://127.0.0.1:9", "--adapter", "--push", "org/model")
    assert said.returncode == 2 and "the Hub cannot be reached" in said.stderr, said.stderr
    assert said.stderr.count("\n") == 1 and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["model", "a/b/c", "../x", "org/", "org/..", "org/a--b", ""])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(HoldfastError, match="no name of a model on the Hub"):
        check_name(name)
