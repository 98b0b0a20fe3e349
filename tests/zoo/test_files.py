from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hrpose.errors import DownloadError, WeightsError
from hrpose.zoo import files
from hrpose.zoo.specs import DEFAULT_POSE, SPECS

OFFICIAL = SPECS["hrnet_w32_256x192.official"]
MMPOSE = SPECS["hrnet_w32_256x192.mmpose"]
BODY = b"weights" * 1000


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("HRPOSE_HOME", str(folder))
    return folder


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"HRPOSE_HOME": "~/w"}, "w"),
        ("linux", {"XDG_CACHE_HOME": "/cache"}, "/cache/hrpose"),
        ("linux", {}, ".cache/hrpose"),
        ("darwin", {}, "Library/Caches/hrpose"),
        ("win32", {}, "AppData/Local/hrpose"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/hrpose"),
    ],
)
def test_home(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    variables: dict[str, str],
    expected: str,
) -> None:
    for name in ("HRPOSE_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", platform)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert files.home() == tmp_path / expected
    assert list(tmp_path.iterdir()) == []


def test_home_is_private(home: Path) -> None:
    assert files.make_home() == home
    assert home.stat().st_mode & 0o077 == 0


def test_home_that_cannot_be_made(home: Path) -> None:
    home.write_text("a file")
    with pytest.raises(WeightsError, match="cannot make") as caught:
        files.make_home()
    assert "HRPOSE_HOME" in caught.value.hint


@pytest.mark.parametrize("checkout", [True, False])
def test_embedded_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkout: bool) -> None:
    package = tmp_path / "hrpose"
    (tmp_path / "weights").mkdir()  # in site-packages this would be somebody else's
    monkeypatch.setattr(files, "_PACKAGE", package)
    if checkout:
        (tmp_path / "pyproject.toml").touch()
    assert files.embedded() == (tmp_path if checkout else package) / "weights"


def test_own_import_goes_before_the_published_file(home: Path) -> None:
    assert files.find(OFFICIAL) is None
    home.mkdir()
    published = home / "pose_hrnet_w32_256x192.pth"
    published.touch()
    assert files.locate(OFFICIAL) == published
    files.imported(OFFICIAL).touch()
    assert files.locate(OFFICIAL) == home / "hrnet_w32_256x192.official.safetensors"


def test_missing_weights_say_where_from_and_where_to(home: Path) -> None:
    with pytest.raises(WeightsError, match=r"hrnet_w32_256x192\.official are not") as manual:
        files.locate(OFFICIAL)
    assert "deep-high-resolution-net" in manual.value.hint
    assert "hrpose models add FILE --as hrnet_w32_256x192.official" in manual.value.hint
    assert str(home / OFFICIAL.file) in manual.value.hint
    with pytest.raises(WeightsError) as direct:
        files.locate(MMPOSE)
    assert "hrpose models get hrnet_w32_256x192.mmpose" in direct.value.hint
    assert str(MMPOSE.url) in direct.value.hint
    assert str(home / MMPOSE.file) in direct.value.hint


def test_missing_embedded_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(files, "_PACKAGE", tmp_path / "hrpose")
    with pytest.raises(WeightsError) as caught:
        files.locate(SPECS[DEFAULT_POSE])
    assert "install hrpose again" in caught.value.hint


class Quiet(http.server.BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        # the final name comes from our table, whatever a server proposes
        self.send_header("Content-Disposition", 'attachment; filename="../../evil.pth"')
        self.end_headers()
        self.wfile.write(BODY)


@pytest.fixture
def address() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/x"
        server.shutdown()
        thread.join()


def test_fetch(home: Path, address: str) -> None:
    prefix = hashlib.sha256(BODY).hexdigest()[:8]
    spec = replace(MMPOSE, url=address, sha256_prefix=prefix)
    path = files.fetch(spec, progress=False)
    assert path == home / MMPOSE.file
    assert path.read_bytes() == BODY
    assert files.fetch(replace(spec, url="http://127.0.0.1:9/")) == path


def test_fetch_of_something_else(home: Path, address: str) -> None:
    with pytest.raises(DownloadError, match="SHA-256"):
        files.fetch(replace(MMPOSE, url=address))
    assert files.find(MMPOSE) is None


def test_fetch_without_address(home: Path) -> None:
    with pytest.raises(WeightsError, match="no address") as caught:
        files.fetch(OFFICIAL)
    assert "hrpose models add" in caught.value.hint
    assert not home.exists()


def test_import_is_remembered(home: Path) -> None:
    files.make_home()
    path = files.imported(OFFICIAL)
    assert files.expected_hash(OFFICIAL, path) == ""
    for body in (b"first", b"second"):
        part = home / "x.part"
        part.write_bytes(body)
        sha256 = hashlib.sha256(body).hexdigest()
        files.settle_imported(part, path, sha256=sha256)
        assert path.read_bytes() == body
        assert files.expected_hash(OFFICIAL, path) == sha256
    record = (home / f"{path.name}.sha256").read_text()
    assert record == f"{sha256}  {path.name}\n"
    assert files.expected_hash(OFFICIAL, home / OFFICIAL.file) == OFFICIAL.sha256
    assert files.expected_hash(MMPOSE, home / MMPOSE.file) == "c78dce93"
