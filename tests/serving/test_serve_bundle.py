"""An exported graph is served like its model, but for what only a model can show."""

from collections.abc import Callable
from pathlib import Path

import pytest

import allmlp
from helpers import PictureFolder, picture

pytest.importorskip("fastapi", reason="allmlp[serve] brings it")
pytest.importorskip("onnxscript", reason="allmlp[export] brings it")
pytest.importorskip("onnxruntime", reason="allmlp[export] brings it")

from allmlp.serving.app import Server
from allmlp.serving.limits import Limits
from allmlp.serving.served import Source
from talk import ask, form, png


@pytest.mark.slow
@pytest.mark.parametrize("inside", [False, True], ids=["", "with-preprocessing"])
def test_a_graph_answers_as_its_model_and_says_what_it_cannot_show(
    inside: bool, weights: Path, server_of: Callable[..., Server], picture_folder: PictureFolder, tmp_path: Path
) -> None:
    classes = dict.fromkeys(allmlp.load(weights).classes or (), 3)
    words = {"format": "onnx", "data": picture_folder(classes), "with_preprocessing": inside}
    allmlp.export(weights, out=tmp_path / "bundle", **words)  # type: ignore[arg-type]
    graph, model = Server(Source(run=str(tmp_path / "bundle")), limits=Limits()), server_of()
    for number in range(3):
        given = form(png(picture(number, (40, 30))))
        due, found = (ask(server, path="/v1/predict", files=given).json() for server in (model, graph))
        assert found["predictions"][0]["classes"] == due["predictions"][0]["classes"]
        close = pytest.approx(due["predictions"][0]["probabilities"], abs=2e-3 if inside else 1e-4)
        assert found["predictions"][0]["probabilities"] == close
    refused = ask(graph, path="/v1/predict?evidence=best", files=form(png(picture(0))))
    assert refused.status_code == 422
    assert "serve the run it was made from" in refused.json()["hint"]
    assert "cannot be looked into" in ask(graph, method="GET", path="/v1/mixing").json()["without"]
    said = ask(graph, method="GET", path="/v1/model").json()
    assert (said["family"], said["parameters"], said["engine"]) == (None, None, "onnx bundle fp32")
    page = ask(graph, method="GET", path="/").text
    assert 'id="file"' in page
    assert 'id="canvas"' not in page
