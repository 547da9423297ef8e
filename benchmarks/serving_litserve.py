"""The same model behind LitServe in its default form: python serving_litserve.py RUN PORT"""

import sys
from typing import Any

import litserve
from fastapi import Request

import allmlp
from serving_fastapi import answer


class Api(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.model = allmlp.load(sys.argv[1])

    def decode_request(self, request: Request) -> bytes:
        return request["images"].file.read()

    def predict(self, x: bytes) -> dict[str, Any]:
        return answer(self.model, x)

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    server = litserve.LitServer(Api(api_path="/v1/predict"), accelerator="cpu")
    server.run(port=int(sys.argv[2]), log_level="error", generate_client_file=False)
