"""Paths → what answers them."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from allmlp.errors import AllmlpError
from allmlp.serving.accept import HTML, JSON, TEXT, answers_in
from allmlp.serving.evidence import check_class, evidence_of
from allmlp.serving.guard import App, Guard, refusal
from allmlp.serving.journal import Journal
from allmlp.serving.limits import Limits, Load
from allmlp.serving.metrics import Metrics
from allmlp.serving.mixing import mixing_of
from allmlp.serving.pages import PAGE_HEADERS, docs_of, page_of
from allmlp.serving.pictures import HOW, Upload, pictures_of
from allmlp.serving.refused import Refused, busy
from allmlp.serving.schema import ANSWERS, BODY, KINDS, RELOADS, Mixing, Model, Predictions, Status
from allmlp.serving.served import Holder, Served, Source

SMALL = 100_000
"""Bytes of a body that is taken apart at once; a larger one in a thread, so that others are not kept waiting."""


class Server:
    """One server: what it serves, what it counts, and its ASGI application."""

    def __init__(
        self, source: Source, *, limits: Limits | None = None, key: str | None = None, journal: Journal | None = None
    ) -> None:
        """Loads the model. Raises as `Served` does."""
        self.source, self.limits, self.journal = source, limits or Limits(), journal or Journal(None)
        self.load = Load(self.limits)
        self.metrics = Metrics(self.load)
        self.holder = Holder(self.loaded(quiet=False))
        self.reloading, self.locked = False, key is not None
        self.explainer = ThreadPoolExecutor(1, thread_name_prefix="allmlp-evidence")
        self.decoders = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="allmlp-decode")
        words: dict[str, Any] = {"load": self.load, "metrics": self.metrics, "journal": self.journal}
        self.app: App = Guard(self._routes(), limits=self.limits, key=key, **words)

    def loaded(self, *, quiet: bool = True) -> Served:
        return Served(self.source, counted=self.metrics.batches.observe, quiet=quiet)

    def _routes(self) -> FastAPI:
        words: dict[str, Any] = {"docs_url": None, "redoc_url": None, "openapi_url": None}
        app = FastAPI(title="allmlp", version=version("allmlp"), lifespan=self._life, **words)
        app.router.redirect_slashes = False  # which would send clients where the Host header says
        json, html, text = (_only(kind) for kind in (JSON, HTML, TEXT))
        shown: dict[str, Any] = {"responses": KINDS, **json}
        predict: dict[str, Any] = {"response_model": Predictions, "responses": ANSWERS, "openapi_extra": {"requestBody": BODY}}
        predict |= {"methods": ["POST"], **json}
        app.add_api_route("/v1/predict", self.predict, summary="Classes of pictures", **predict)
        app.add_api_route("/v1/model", self.model, summary="The model that answers", response_model=Model, **shown)
        app.add_api_route("/v1/mixing", self.mixing, summary="Its token-mixing maps", response_model=Mixing, **shown)
        reload: dict[str, Any] = {"methods": ["POST"], "response_model": Model, "responses": RELOADS, **json}
        app.add_api_route("/v1/reload", self.reload, summary="Load the model anew; needs the key", **reload)
        app.add_api_route("/healthz", self.healthz, summary="Whether the process lives", response_model=Status, **shown)
        app.add_api_route("/readyz", self.healthz, summary="Whether it takes requests", response_model=Status, **shown)
        shown = {"response_class": PlainTextResponse, "responses": KINDS, **text}
        app.add_api_route("/metrics", self.scraped, summary="For Prometheus", **shown)
        app.add_api_route("/", self.page, include_in_schema=False, **html)
        app.add_api_route("/docs", self.docs, include_in_schema=False, **html)
        app.add_api_route("/openapi.json", self.openapi, include_in_schema=False, **json)
        app.add_exception_handler(Refused, _refused)
        app.add_exception_handler(HTTPException, _http)
        app.add_exception_handler(RequestValidationError, _invalid)
        app.add_exception_handler(ClientDisconnect, _gone)
        app.add_exception_handler(Exception, _broken)
        return app

    async def predict(
        self,
        request: Request,
        top: Annotated[int, Query(ge=1, description="How many classes to name.")] = 5,
        evidence: Annotated[str | None, Query(description='A class, or "best": what speaks for it, where.')] = None,
    ) -> Response:
        body = await request.body()
        try:
            async with asyncio.timeout(self.limits.answer_seconds):
                return JSONResponse(await self._predicted(request.headers.get("content-type", ""), body, top, evidence))
        except TimeoutError:
            raise busy(f"no answer within {self.limits.answer_seconds:g} s") from None

    async def _predicted(self, kind: str, body: bytes, top: int, evidence: str | None) -> dict[str, Any]:
        loop, most = asyncio.get_running_loop(), self.limits.images
        if len(body) <= SMALL:
            pictures = pictures_of(kind, body, most=most)
        else:
            pictures = await loop.run_in_executor(self.decoders, lambda: pictures_of(kind, body, most=most))
        with self.load.room(len(pictures), 0 if evidence is None else len(pictures)), self.holder.use() as served:
            check_class(served, evidence)
            images = await loop.run_in_executor(self.decoders, self._decoded, served, pictures)
            answers = await served.batcher.ask(images)
            predictions = [served.best(answer, top, each.name) for answer, each in zip(answers, pictures, strict=True)]
            if evidence is not None:
                for found, image in zip(predictions, images, strict=True):
                    label = evidence if evidence in served.classes else found["classes"][0]
                    found["evidence"] = await loop.run_in_executor(self.explainer, evidence_of, served, image, label)
        self.metrics.images.inc(len(answers))
        model = {"name": served.name, "version": served.version}
        return {"model": model, "predictions": predictions}

    def _decoded(self, served: Served, pictures: list[Upload]) -> list[Any]:
        return [served.decoded(picture, self.limits.pixels) for picture in pictures]

    async def model(self) -> Response:
        return JSONResponse(self.holder.current.record())

    async def mixing(self) -> Response:
        with self.holder.use() as served:
            if served.mixing is None:
                served.mixing = await asyncio.get_running_loop().run_in_executor(self.explainer, mixing_of, served.network)
            return JSONResponse(served.mixing)

    async def reload(self) -> Response:
        if not self.locked:
            raise Refused(403, "this server has no key", hint="send its process SIGHUP, or start it with ALLMLP_API_KEY set")
        try:
            return JSONResponse((await self.reloaded()).record())
        except AllmlpError as error:
            raise Refused(409, f"the model that was there stays: {error.what}", hint=error.hint) from None

    async def reloaded(self) -> Served:
        """The source as it is now, in the place of the model that was there, which answers until then and whenever it fails."""
        if self.reloading:
            raise Refused(409, "a model is being loaded", hint="wait for it")
        self.reloading = True
        try:
            new = await asyncio.to_thread(self.loaded)
        except BaseException as error:
            self.metrics.reloads.labels("failed").inc()
            self.journal.line("reload", outcome="failed", what=str(error)[:500])
            raise
        finally:
            self.reloading = False
        self.holder.replace(new)
        self.metrics.reloads.labels("done").inc()
        self.journal.line("reload", outcome="done", version=new.version)
        return new

    @asynccontextmanager
    async def _life(self, _: FastAPI) -> AsyncIterator[None]:
        """SIGHUP means: load the model anew."""
        loop, tasks = asyncio.get_running_loop(), set[asyncio.Task[None]]()

        async def again() -> None:
            with suppress(AllmlpError):  # which the journal has
                await self.reloaded()

        def begin() -> None:
            task = loop.create_task(again())
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        loop.add_signal_handler(signal.SIGHUP, begin)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGHUP)  # which then would be deadly
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    async def page(self) -> Response:
        return HTMLResponse(page_of(self.holder.current, asks_key=self.locked), headers=PAGE_HEADERS)

    async def docs(self, request: Request) -> Response:
        return HTMLResponse(docs_of(request.app.openapi()), headers=PAGE_HEADERS)

    async def openapi(self, request: Request) -> Response:
        return JSONResponse(request.app.openapi())

    async def healthz(self) -> Response:
        return JSONResponse({"status": "ok"})

    async def scraped(self) -> Response:
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _only(kind: str) -> dict[str, Any]:
    """Of a route that answers in this kind of content alone."""
    return {"dependencies": [Depends(answers_in(kind))]}


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return refusal(error)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = {404: f"there is nothing at {request.url.path[:200]}", 405: f"{request.method} is not for {request.url.path}"}
    what, hint = known.get(error.status_code, str(error.detail)), "see /docs for what there is"
    answer = refusal(Refused(error.status_code, what, hint=hint))
    answer.headers.update(error.headers or {})
    if "GET" in answer.headers.get("allow", ""):  # HEAD is answered wherever GET is, by the guard
        answer.headers["allow"] = "GET, HEAD"
    return answer


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return refusal(Refused(422, f"{first['loc'][-1]}: {first['msg']}", hint=HOW if first["loc"][0] == "body" else "see /docs"))


async def _gone(_: Request, __: Exception) -> Response:
    """Nobody is there to read it."""
    return Response(status_code=400)


async def _broken(_: Request, __: Exception) -> Response:
    what = "this is a fault of the server's, and is in its log"
    return refusal(Refused(500, what, hint="tell whoever runs it"))
