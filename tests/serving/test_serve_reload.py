"""Another model takes over without a request lost, and a broken one does not."""

import asyncio
import shutil
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from helpers import picture

pytest.importorskip("fastapi", reason="allmlp[serve] brings it")

import httpx2

from allmlp.serving.app import Server
from talk import ask, form, png, talk, write

KEY = {"authorization": "Bearer secret"}


def copied(source: Path, folder: Path) -> Path:
    for suffix in (".safetensors", ".json"):
        shutil.copy(source.with_suffix(suffix), folder / f"served{suffix}")
    return folder / "served.safetensors"


def test_requests_that_have_begun_are_answered_by_the_model_they_began_with(
    weights: Path, server_of: Callable[..., Server], tmp_path: Path
) -> None:
    path = copied(weights, tmp_path)
    server = server_of(key="secret", source={"run": str(path)})
    contents = [png(picture(number)) for number in range(40)]

    async def meanwhile(client: httpx2.AsyncClient) -> tuple[list[httpx2.Response], httpx2.Response]:
        asked = [asyncio.ensure_future(client.post("/v1/predict", files=form(one), headers=KEY)) for one in contents]
        write(path, seed=2, img_size=(16, 16))  # of another size, so that nothing of both could be in one batch
        reloaded = asyncio.ensure_future(client.post("/v1/reload", headers=KEY))
        while not reloaded.done():
            asked.append(asyncio.ensure_future(client.post("/v1/predict", files=form(contents[0]), headers=KEY)))
            await asyncio.sleep(0.01)
        asked += [asyncio.ensure_future(client.post("/v1/predict", files=form(contents[0]), headers=KEY)) for _ in range(9)]
        return list(await asyncio.gather(*asked)), await reloaded

    old = server.holder.current
    answers, reloaded = talk(server, meanwhile)
    assert reloaded.json()["img_size"] == [16, 16]
    assert {answer.status_code for answer in answers} == {200}
    versions = [answer.json()["model"]["version"] for answer in answers]
    assert set(versions) == {old.version, reloaded.json()["version"]}
    assert set(versions[-9:]) == {reloaded.json()["version"]}
    assert old.using == 0
    assert old.batcher.thread._shutdown


def test_a_broken_model_is_refused_and_the_old_one_stays(
    weights: Path, server_of: Callable[..., Server], tmp_path: Path
) -> None:
    path = copied(weights, tmp_path)
    server = server_of(key="secret", source={"run": str(path)})
    path.write_bytes(b"no tensors")
    answer = ask(server, path="/v1/reload", headers=KEY)
    assert answer.status_code == 409
    assert "the model that was there stays" in answer.json()["error"]
    assert ask(server, files=form(png(picture(1))), headers=KEY).status_code == 200
    assert 'allmlp_reloads_total{outcome="failed"} 1.0' in ask(server, "GET", "/metrics", headers=KEY).text


def test_without_a_key_nobody_reloads_over_http(server_of: Callable[..., Server]) -> None:
    answer = ask(server_of(), path="/v1/reload")
    assert answer.status_code == 403
    assert "SIGHUP" in answer.json()["hint"]
    assert ask(server_of(key="secret"), path="/v1/reload").status_code == 401


@pytest.mark.slow
def test_sighup_changes_the_model_under_load_without_a_failure(
    weights: Path, process: Callable[..., Any], tmp_path: Path
) -> None:
    path = copied(weights, tmp_path)
    server, port = process(run=path)
    versions: set[str] = set()
    ends = time.monotonic() + 600

    def client() -> set[int]:
        found = set()
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=300) as talk:
            while time.monotonic() < ends and len(versions) < 2:
                answer = talk.post("/v1/predict", files=form(png(picture(1))))
                found.add(answer.status_code)
                versions.add(answer.json()["model"]["version"])
        return found

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(client) for _ in range(4)]
        time.sleep(0.5)
        write(path, seed=2)
        server.send_signal(signal.SIGHUP)
        assert set().union(*(one.result() for one in clients)) == {200}
    assert len(versions) == 2
