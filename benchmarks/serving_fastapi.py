"""The same model behind the handler that one would write first: python serving_fastapi.py RUN PORT"""

import io
import sys
from typing import Any

import torch
from PIL import Image

import allmlp


def answer(model: Any, content: bytes) -> dict[str, Any]:
    """One picture at a time, the model as it is."""
    image = model.preprocessing(Image.open(io.BytesIO(content)))
    with torch.inference_mode():
        best = model(image[None]).softmax(-1)[0].topk(5)
    return {"classes": [model.classes[i] for i in best.indices.tolist()], "probabilities": best.values.tolist()}


def fastapi(run: str, port: int) -> None:
    import uvicorn
    from fastapi import FastAPI, UploadFile

    app, model = FastAPI(), allmlp.load(run)

    @app.post("/v1/predict")
    def predict(images: UploadFile) -> dict[str, Any]:
        return answer(model, images.file.read())

    uvicorn.run(app, port=port, log_level="error")


if __name__ == "__main__":
    fastapi(sys.argv[1], int(sys.argv[2]))
