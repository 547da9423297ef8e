"""Files of released checkpoints: fetched once, verified, and where there is no network, named with their place."""

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

import allmlp
from allmlp.errors import RunError, WeightsError
from allmlp.models import create_model
from allmlp.pixels.preprocess import HALF, Preprocessing
from allmlp.released.fetch import fetch, home, kept
from allmlp.released.table import Released, released
from allmlp.weights.files import write_tensors
from allmlp.weights.layouts import layout_for
from helpers import picture

TINY: dict[str, Any] = dict(dim=8, depth=2, patch_size=4, img_size=8, num_classes=3)


class Server(BaseHTTPRequestHandler):
    """Answers from a dictionary of files, as a hub that keeps one commit; counts what is asked of it."""

    def __init__(self, files: dict[str, bytes], asked: list[str], *rest: Any) -> None:
        self.files, self.asked = files, asked
        super().__init__(*rest)

    def do_HEAD(self) -> None:
        content = self.files.get(self.path)
        self.send_response(404 if content is None else 200)
        if content is not None:
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", "a" * 40)
        self.end_headers()

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.do_HEAD()
        self.wfile.write(self.files.get(self.path, b""))

    def log_message(self, *_: Any) -> None:
        """Nothing on the screen."""


class Net:
    """A server on this machine, and what it was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, self.files, self.asked))
        self.address = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def net() -> Iterator[Net]:
    net = Net()
    thread = threading.Thread(target=net.server.serve_forever, daemon=True)
    thread.start()
    yield net
    net.server.shutdown()
    net.server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every cache in an empty folder."""
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path / "allmlp"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "allmlp"


def release(**values: Any) -> Released:
    spec = Preprocessing(img_size=(8, 8), mean=HALF, std=HALF)
    return Released(name="resmlp_xs.tiny_in3", trained="noise", preprocessing=spec, **values)


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    """A checkpoint as timm would write it."""
    torch.manual_seed(0)
    ours = create_model("resmlp_xs", **TINY).state_dict()
    layout, names = layout_for("timm", "resmlp", ours)
    write_tensors(tmp_path / "x.pth", {names[k]: layout.axes_of(names[k]).to_theirs(v) for k, v in ours.items()})
    return (tmp_path / "x.pth").read_bytes()


def test_a_file_is_fetched_once_and_verified(net: Net, content: bytes, cache: Path) -> None:
    net.files["/w.pth"] = content
    entry = release(url=f"{net.address}/w.pth", sha256=hashlib.sha256(content).hexdigest()[:8])
    assert kept(entry) is None
    for _ in range(2):
        assert fetch(entry) == kept(entry) == cache / "resmlp_xs.tiny_in3.pth"
    assert net.asked == ["/w.pth"]
    assert (cache / "resmlp_xs.tiny_in3.pth").read_bytes() == content
    assert [p.name for p in cache.iterdir()] == ["resmlp_xs.tiny_in3.pth"]


def test_a_file_with_another_hash_is_refused_and_not_kept(net: Net, content: bytes, cache: Path) -> None:
    net.files["/w.pth"] = content
    with pytest.raises(WeightsError, match=r"could not be fetched\n.*invalid hash value"):
        fetch(release(url=f"{net.address}/w.pth", sha256="0" * 8))
    assert list(cache.iterdir()) == []


def test_a_file_that_was_put_there_by_hand_is_verified_too(content: bytes, cache: Path) -> None:
    cache.mkdir()
    path = cache / "resmlp_xs.tiny_in3.pth"
    path.write_bytes(content)
    entry = release(url="https://example.org/w.pth", sha256=hashlib.sha256(content).hexdigest())
    assert fetch(entry) == path
    path.write_bytes(content[:-1])
    with pytest.raises(WeightsError, match=r"is not the released resmlp_xs\.tiny_in3: its SHA-256 begins with") as error:
        fetch(entry)
    assert error.value.hint == "remove it, and fetch it again"


def test_a_download_that_is_cut_short_is_not_kept(net: Net, content: bytes, cache: Path) -> None:
    net.files["/w.pth"] = content
    send = Server.do_GET

    def half(self: Server) -> None:
        self.files = {"/w.pth": content}
        self.do_HEAD()
        self.wfile.write(content[: len(content) // 2])

    Server.do_GET = half  # type: ignore[method-assign]
    try:
        with pytest.raises(WeightsError, match=r"could not be fetched\n.*(cut short|IncompleteRead)"):
            fetch(release(url=f"{net.address}/w.pth"))
    finally:
        Server.do_GET = send  # type: ignore[method-assign]
    assert list(cache.iterdir()) == []


def test_the_hub_comes_before_the_plain_address_and_keeps_its_own_cache(
    net: Net, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", net.address)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", net.address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    net.files["/timm/tiny/resolve/main/model.safetensors"] = b"tensors"
    net.files["/w.pth"] = content
    entry = release(hub="timm/tiny", url=f"{net.address}/w.pth")
    path = fetch(entry)
    assert path.read_bytes() == b"tensors"
    assert path.is_relative_to(tmp_path / "hub")
    assert fetch(entry) == kept(entry) == path
    del net.files["/timm/tiny/resolve/main/model.safetensors"]
    other = release(hub="timm/gone", url=f"{net.address}/w.pth")
    assert fetch(other).read_bytes() == content


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/w.pth", "http://no-such-host.invalid/w.pth", "file:///no/such/w.pth"])
def test_without_network_the_error_says_where_to_put_the_file(url: str, content: bytes, cache: Path) -> None:
    entry = release(url=url)
    with pytest.raises(WeightsError, match=r"tiny_in3 is not on this machine and could not be fetched\n  .*w\.pth: ") as error:
        fetch(entry)
    assert url in error.value.hint
    place = cache / "resmlp_xs.tiny_in3.safetensors"
    assert str(place) in error.value.hint
    assert ".pth" in error.value.hint
    cache.mkdir(exist_ok=True)
    place.with_suffix(".pth").write_bytes(content)
    assert fetch(entry) == place.with_suffix(".pth")


def test_what_no_program_can_fetch_is_said_with_its_page(cache: Path) -> None:
    with pytest.raises(WeightsError, match="no program can fetch it") as error:
        fetch(release(page="https://example.org/models"))
    assert error.value.hint.startswith(f"get the file from https://example.org/models and put it at {cache}")


def test_the_folder_is_in_the_users_cache_unless_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert home() == tmp_path / "allmlp"
    monkeypatch.delenv("ALLMLP_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert home() == tmp_path / "xdg" / "allmlp"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert home() == Path.home() / ".cache" / "allmlp"


def test_a_released_checkpoint_is_loaded_by_its_name(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    entry = release(
        url=(tmp_path / "w.pth").as_uri(), hyper={k: v for k, v in TINY.items() if k not in ("img_size", "num_classes")}
    )
    monkeypatch.setattr("allmlp.engine.load.released", lambda: {entry.name: entry})
    monkeypatch.setattr("allmlp.released.table.OUTPUTS", 3)
    model = allmlp.load(entry.name)
    x = torch.randn(2, 3, 8, 8)
    torch.manual_seed(0)
    assert torch.equal(model(x), create_model("resmlp_xs", **TINY).eval()(x))
    assert (model.name, model.preprocessing, model.training) == ("resmlp_xs", entry.preprocessing, False)
    assert model.predict(picture(0))[0].classes[0] in {"0", "1", "2"}
    with pytest.raises(RunError, match="neither a run folder nor") as error:
        allmlp.load("resmlp_xs.tiny_in2")
    assert error.value.hint == "did you mean resmlp_xs.tiny_in3?"


@pytest.mark.parametrize(
    ("name", "third", "count"),
    [
        ("smlpnet_xs.cifar10", "cat", 172_618),
        ("resmlp_xs.cifar10", "cat", 479_530),
        ("smlpnet_xs.fashion_mnist", "dress", 172_618),
    ],
)
def test_our_own_checkpoints_need_no_network_and_are_those_that_were_measured(
    name: str, third: str, count: int, cache: Path
) -> None:
    model = allmlp.load(name)
    assert (model.img_size, model.classes[3], sum(p.numel() for p in model.parameters())) == ((32, 32), third, count)
    assert not any(cache.rglob("*"))
    entry = released()[name]
    with pytest.raises(WeightsError, match=f"is not the released {re.escape(name)}"):
        fetch(replace(entry, sha256="0" * 64))


def test_a_released_file_of_another_model_is_refused(content: bytes, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.mkdir()
    entry = release(page="https://example.org", hyper={"depth": 3})
    (cache / "resmlp_xs.tiny_in3.pth").write_bytes(content)
    monkeypatch.setattr("allmlp.engine.load.released", lambda: {entry.name: entry})
    with pytest.raises(WeightsError, match="does not fit resmlp_xs"):
        allmlp.load(entry.name)
