"""What the OpenAPI document says of requests and answers."""

from typing import Any

from pydantic import BaseModel, Field

from allmlp.serving.pictures import FIELD


class Named(BaseModel):
    name: str
    version: str = Field(description="Of the weights: another one after a reload.")


class StepEvidence(BaseModel):
    step: str = Field(description="Where in the model, such as blocks.3.")
    values: list[list[float]] = Field(
        description="A row for each row of the step's grid: above 0 where it speaks for the class."
    )


class Evidence(BaseModel):
    name: str = Field(description="The class it is about.")
    steps: list[StepEvidence] = Field(description="Each step's output times the logit's gradient there, from first to last.")
    seen: str = Field(description="The picture as the model sees it, as data:image/png;base64, on which the grids lie.")


class Prediction(BaseModel):
    classes: list[str] = Field(description="Best first.")
    probabilities: list[float] = Field(description="In [0, 1]; over all classes they sum to 1.")
    evidence: Evidence | None = Field(None, description="Where it was asked for.")


class Predictions(BaseModel):
    model: Named
    predictions: list[Prediction] = Field(description="One for each picture, in their order.")


class Model(BaseModel):
    name: str
    family: str | None = Field(description="Null for an exported graph, and so are its parameters.")
    version: str
    classes: list[str]
    img_size: list[int] = Field(description="Height and width in pixels, to which pictures are brought.")
    in_chans: int = Field(description="1 (grey) or 3 (RGB).")
    parameters: int | None
    engine: str
    loaded: str = Field(description="When, in UTC.")


class Mixing(BaseModel):
    without: str | None = Field(description="Why there are no maps, where there are none.")
    scale: str = Field(description="An <svg> element.")
    panels: list[str] = Field(description="One <svg> element for each layer that mixes tokens.")


class Status(BaseModel):
    status: str


class Problem(BaseModel):
    error: str = Field(description="What is wrong.")
    hint: str = Field(description="How to put it right.")


_WHAT = {
    400: "The body is not understood, or cut short.",
    401: "The key is missing or wrong.",
    406: "The header Accept does not take what is answered here.",
    408: "The request did not come in time.",
    413: "Too many bytes, pictures or pixels.",
    415: "Another content type, or a content encoding that is not known (Accept-Encoding names those that are).",
    422: "A picture that cannot be read, or a value that cannot be.",
    503: "Too much to do: come again after Retry-After seconds.",
}
ANSWERS: dict[int | str, dict[str, Any]] = {status: {"model": Problem, "description": what} for status, what in _WHAT.items()}

KINDS: dict[int | str, dict[str, Any]] = {406: ANSWERS[406]}
"""Of every route."""

RELOADS: dict[int | str, dict[str, Any]] = {
    **KINDS,
    401: ANSWERS[401],
    403: {"model": Problem, "description": "The server has no key."},
    409: {"model": Problem, "description": "It cannot be loaded, and the model that was there stays."},
}

TEXTS = "In either alphabet of RFC 4648, with or without line breaks and padding; or data:image/png;base64 and so on."

BODY: dict[str, Any] = {
    "required": True,
    "description": "As it is, or with Content-Encoding: gzip or deflate; its limit counts the bytes without it.",
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "additionalProperties": False,
                "properties": {FIELD: {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}}},
            }
        },
        "application/json": {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "additionalProperties": False,
                "properties": {
                    FIELD: {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "string", "contentEncoding": "base64", "description": TEXTS},
                    }
                },
            }
        },
    },
}
