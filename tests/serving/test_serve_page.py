"""The page in a real Chromium, and what it is made of."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers import picture

pytest.importorskip("fastapi", reason="allmlp[serve] brings it")

from browser import CHROMIUM, Browser

from allmlp.serving.app import Server
from talk import ask, form, png

LEFT, TAB, SPACE, DOWN = ("ArrowLeft", 37), ("Tab", 9), (" ", 32), ("ArrowDown", 40)


def test_the_pages_name_no_address_but_the_servers_own(server_of: Callable[..., Server]) -> None:
    server = server_of()
    for path in ("/", "/docs"):
        answer = ask(server, "GET", path)
        assert answer.status_code == 200
        assert not re.search(r"(?:src|href)=[\"'](?!/|#|data:,)", answer.text)
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_documents_say_all_paths_and_all_refusals(server_of: Callable[..., Server]) -> None:
    server = server_of()
    paths = ask(server, "GET", "/openapi.json").json()["paths"]
    assert set(paths) == {"/v1/predict", "/v1/model", "/v1/mixing", "/v1/reload", "/healthz", "/readyz", "/metrics"}
    assert {"200", "400", "401", "408", "413", "415", "422", "503"} <= set(paths["/v1/predict"]["post"]["responses"])
    page = ask(server, "GET", "/docs").text
    assert all(path in page for path in paths)


def test_evidence_has_a_grid_for_each_block_and_the_picture_it_lies_on(server_of: Callable[..., Server]) -> None:
    server = server_of()
    answer = ask(server, path="/v1/predict?evidence=dog", files=form(png(picture(1)))).json()
    found = answer["predictions"][0]["evidence"]
    assert found["name"] == "dog"
    assert [step["step"] for step in found["steps"]] == ["blocks.0", "blocks.1"]
    assert all(len(step["values"]) == 2 and len(step["values"][0]) == 2 for step in found["steps"])
    assert found["seen"].startswith("data:image/png;base64,")
    best = ask(server, path="/v1/predict?evidence=best", files=form(png(picture(1)))).json()["predictions"][0]
    assert best["evidence"]["name"] == best["classes"][0]


def test_evidence_of_a_class_that_is_not_there_or_of_too_many_pictures_is_refused(server_of: Callable[..., Server]) -> None:
    server = server_of()
    answer = ask(server, path="/v1/predict?evidence=dgo", files=form(png(picture(1))))
    assert (answer.status_code, answer.json()["hint"]) == (422, 'did you mean dog?; or "best"')
    assert ask(server, path="/v1/predict?evidence=best", files=form(*[png(picture(1))] * 9)).status_code == 413
    assert server.load.evidence == server.load.images == 0


def test_mixing_maps_are_figures_or_a_reason(server_of: Callable[..., Server], tmp_path: Path) -> None:
    said = ask(server_of(), "GET", "/v1/mixing").json()
    assert said["without"] is None
    assert len(said["panels"]) == 2
    assert all(panel.startswith("<svg ") for panel in [said["scale"], *said["panels"]])


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def classes(browser: Browser) -> Any:
    return browser.run("[...document.querySelectorAll('#classes input')].map(one => one.value)")


@pytest.mark.slow
def test_a_person_with_a_keyboard_gets_classes_and_evidence(
    browser: Browser, process: Callable[..., Any], tmp_path: Path
) -> None:
    _, port = process()
    url = f"http://127.0.0.1:{port}"
    (tmp_path / "a<b>.png").write_bytes(png(picture(1)))
    for width in (1000, 390):
        browser.open(f"{url}/", width=width)
        browser.press(*TAB)
        assert browser.run("document.activeElement.id") == "file"
        browser.choose(tmp_path / "a<b>.png")
        browser.wait("!document.getElementById('answer').hidden")
        assert browser.run("document.getElementById('state').textContent").startswith("a<b>.png: ")
        assert browser.run("document.documentElement.scrollWidth") <= width
        before = browser.run("document.getElementById('canvas').toDataURL()")
        browser.run("document.getElementById('step').focus()")
        browser.press(*LEFT)
        assert browser.run("document.getElementById('name').textContent") == "blocks.0 (1 of 2)"
        assert browser.run("document.getElementById('canvas').toDataURL()") != before
        browser.run("document.getElementById('shown').focus()")
        browser.press(*SPACE)
        assert not browser.run("document.getElementById('shown').checked")
        second = classes(browser)[1]
        browser.run("document.querySelector('#classes input').focus()")
        browser.press(*DOWN)
        browser.wait(f"document.getElementById('class').textContent === {second!r}")
        assert browser.run("document.activeElement.value") == second
    browser.run("document.getElementById('mixing').open = true")
    browser.wait("document.querySelectorAll('#maps svg').length === 2")
    assert browser.log == []
    assert all(address.startswith((url, "data:", "about:")) for address in browser.asked)


DROP = """
(async () => {
  const bytes = Uint8Array.from(atob(%r), letter => letter.charCodeAt(0)), data = new DataTransfer();
  data.items.add(new File([bytes], 'dropped.png', {type: 'image/png'}));
  document.body.dispatchEvent(new %s(%r, {%s: data, bubbles: true, cancelable: true}));
})()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name", "field"), [("DragEvent", "drop", "dataTransfer"), ("ClipboardEvent", "paste", "clipboardData")]
)
def test_a_picture_may_be_dropped_or_pasted_and_a_refusal_is_shown(
    browser: Browser, process: Callable[..., Any], kind: str, name: str, field: str
) -> None:
    import base64

    _, port = process("--max-pixels", "500", ALLMLP_API_KEY="secret")
    browser.open(f"http://127.0.0.1:{port}/", dark=True)
    small, large = (base64.b64encode(png(picture(1, size))).decode() for size in ((20, 20), (50, 20)))
    state = "document.getElementById('state').textContent"
    browser.run(DROP % (small, kind, name, field))
    browser.wait(f"{state}.includes('the key is missing or wrong')")
    browser.run("document.getElementById('key').value = 'secret'")
    browser.run(DROP % (large, kind, name, field))
    browser.wait(f"{state}.includes('50 × 20 pixels are more than 500')")
    browser.run(DROP % (small, kind, name, field))
    browser.wait(f"{state}.startsWith('dropped.png: ')")
