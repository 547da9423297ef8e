"""Over HTTP come the answers that allmlp predict gives, each to its own picture."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from allmlp.cli import main
from helpers import picture

pytest.importorskip("fastapi", reason="allmlp[serve] brings it")

import httpx2

from allmlp.serving.app import Server
from talk import ask, encoded, expected, form, png, same, talk


def test_a_form_and_base64_get_the_rows_of_predict(weights: Path, server_of: Callable[..., Server], tmp_path: Path) -> None:
    rows = expected(weights, tmp_path / "pictures", 3, top=2)
    contents = [png(picture(number)) for number in range(3)]
    server = server_of()
    for answer in (
        ask(server, path="/v1/predict?top=2", files=form(*contents)),
        ask(server, path="/v1/predict?top=2", json=encoded(*contents)),
    ):
        assert answer.status_code == 200
        assert all(same(found, row) for found, row in zip(answer.json()["predictions"], rows, strict=True))


def test_of_many_requests_at_once_each_gets_the_answer_to_its_own_picture(
    weights: Path, server_of: Callable[..., Server], tmp_path: Path
) -> None:
    rows, server = expected(weights, tmp_path / "pictures", 120, top=5), server_of()
    assert len({tuple(row["probabilities"]) for row in rows}) == 120

    async def all_at_once(client: httpx2.AsyncClient) -> list[httpx2.Response]:
        asked = [client.post("/v1/predict", files=form(png(picture(number)))) for number in range(120)]
        return list(await asyncio.gather(*asked))

    for row, answer in zip(rows, talk(server, all_at_once), strict=True):
        assert same(answer.json()["predictions"][0], row)
    batches = [sample for metric in server.metrics.batches.collect() for sample in metric.samples]
    count = next(sample.value for sample in batches if sample.name.endswith("_count"))
    assert count < 120, "batches were shared"


@pytest.mark.parametrize("mode", ["CMYK", "L", "1", "P", "LA", "RGBA", "I;16", "F"])
def test_pictures_of_every_mode_are_answered(server_of: Callable[..., Server], mode: str) -> None:
    image = picture(1)
    image = image.convert("L").convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)
    kind = {"CMYK": "JPEG", "F": "TIFF"}.get(mode, "PNG")
    assert ask(server_of(), files=form(png(image, kind))).status_code == 200


def test_of_an_animation_the_first_frame_counts(server_of: Callable[..., Server], tmp_path: Path) -> None:
    first, second = (picture(number).quantize() for number in (1, 2))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    server = server_of()
    moving, still = (
        ask(server, files=form(content)).json() for content in ((tmp_path / "a.gif").read_bytes(), png(first, "GIF"))
    )
    assert moving == still


def test_the_model_says_what_it_is(server_of: Callable[..., Server]) -> None:
    said = ask(server_of(), "GET", "/v1/model").json()
    assert said["classes"] == ["ant", "bee", "cat", "dog", "eel"]
    assert (said["family"], said["engine"], said["img_size"]) == ("resmlp", "eager fp32", [8, 8])


def test_requests_images_and_batches_are_counted(server_of: Callable[..., Server]) -> None:
    server = server_of()
    ask(server, files=form(png(picture(1)), png(picture(2))))
    ask(server, "GET", "/v1/nothing")
    said = ask(server, "GET", "/metrics").text
    assert 'allmlp_requests_total{path="/v1/predict",status="200"} 1.0' in said
    assert 'allmlp_requests_total{path="other",status="404"} 1.0' in said
    assert "allmlp_images_total 2.0" in said
    assert "allmlp_batch_images_sum 2.0" in said
    assert "allmlp_images_now 0.0" in said


def test_the_command_says_which_extra_is_missing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert main(["serve", "smlpnet_xs.cifar10"]) == 2
    assert "pip install 'allmlp[serve]'" in capsys.readouterr().err


def test_help_needs_neither_torch_nor_the_server() -> None:
    code = (
        "import sys, allmlp.commands.serve as s\n"
        "try: s.main(['--help'])\n"
        "except SystemExit: print(sorted({'torch', 'fastapi', 'uvicorn'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("port", ["-1", "65536", "99999"])
def test_a_number_that_is_no_port_is_refused(port: str, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(weights), "--port", port]) == 2
    assert f"--port {port} is no port" in capsys.readouterr().err
