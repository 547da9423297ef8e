"""The peers of `benchmarks/inference.py` and `inference_gpu.py`, each given the graph that a skilled user would give it."""

import copy
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

Call = Callable[[], object]

PLAIN = {
    "resmlp_s12": "resmlp_12_224",
    "resmlp_s24": "resmlp_24_224",
    "mixer_s16": "mixer_s16_224",
    "mixer_b16": "mixer_b16_224",
}
"""Our variant → timm's own, which was not written here."""


def _plain(name: str, model: nn.Module) -> nn.Module:
    """timm's own network of the same architecture, or ours where timm has none, in evaluation mode."""
    known = PLAIN.get(name)
    return (timm.create_model(known) if known else copy.deepcopy(model)).eval().requires_grad_(False)


def eager(name: str, model: nn.Module, images: Tensor, *, dtype: torch.dtype, order: torch.memory_format | None = None) -> Call:
    """Where the images are. order: of the numbers in memory; unless given, what it is fastest with, as its release uses it."""
    if order is None:
        order = torch.channels_last if getattr(model, "CHANNELS_LAST", False) else torch.contiguous_format
    ready, given = _plain(name, model).to(images.device, dtype), images.to(dtype, memory_format=order)
    ready.to(memory_format=order)
    return lambda: ready(given)


def compiled(name: str, model: nn.Module, images: Tensor, *, dtype: torch.dtype) -> Call:
    order = torch.channels_last if getattr(model, "CHANNELS_LAST", False) else torch.contiguous_format
    ready, given = _plain(name, model).to(dtype), images.to(dtype, memory_format=order)
    ready.to(memory_format=order)
    run = torch.compile(ready, dynamic=False, options={"freezing": True})

    def call() -> object:
        with torch.no_grad():
            return run(given)

    return call


def autotuned(name: str, model: nn.Module, images: Tensor, *, dtype: torch.dtype) -> Call:
    """Where the images are, as torch.compile is told to take its time; on a GPU that includes CUDA graphs."""
    ready, given = _plain(name, model).to(images.device, dtype), images.to(dtype)
    run = torch.compile(ready, dynamic=False, mode="max-autotune")

    def call() -> object:
        with torch.no_grad():
            return run(given)

    return call


def onnx(name: str, model: nn.Module, images: Tensor, *, int8: bool) -> Call:
    """By torch's own exporter; dynamic int8 as ONNX Runtime's tools make it."""
    import onnx as onnx_files
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        torch.onnx.export(_plain(name, model), (images,), path, dynamo=True, external_data=False, verbose=False)
        if int8:
            graph = onnx_files.load(path)
            del graph.graph.value_info[:]  # else the tool finds shapes that contradict its own
            onnx_files.save(graph, path)
            quantize_dynamic(path, path.with_name("int8.onnx"), weight_type=QuantType.QInt8)
            path = path.with_name("int8.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    given = {session.get_inputs()[0].name: images.numpy()}
    return lambda: session.run(None, given)


def openvino(name: str, model: nn.Module, images: Tensor, *, hint: str, int8: bool = False) -> Call:
    """In int8 as NNCF makes it by its own defaults."""
    import openvino as ov

    with torch.no_grad():
        converted = ov.convert_model(torch.export.export(_plain(name, model), (images,)))
    if int8:
        import nncf

        converted = nncf.quantize(converted, nncf.Dataset([images] * 4, lambda given: given.numpy()))
    values = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": torch.get_num_threads(), "NUM_STREAMS": 1}
    values |= {"PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
    request, given = ov.Core().compile_model(converted, "CPU", values).create_infer_request(), images.numpy()
    return lambda: request.infer([given], share_inputs=True, share_outputs=True)


PEERS: dict[str, Callable[[str, nn.Module, Tensor], Call]] = {
    "eager fp32": partial(eager, dtype=torch.float32),
    "eager bf16": partial(eager, dtype=torch.bfloat16),
    "torch.compile fp32": partial(compiled, dtype=torch.float32),
    "torch.compile bf16": partial(compiled, dtype=torch.bfloat16),
    "ONNX Runtime fp32": partial(onnx, int8=False),
    "ONNX Runtime int8": partial(onnx, int8=True),
    "OpenVINO fp32": partial(openvino, hint="f32"),
    "OpenVINO bf16": partial(openvino, hint="bf16"),
    "OpenVINO int8": partial(openvino, hint="f32", int8=True),
}
