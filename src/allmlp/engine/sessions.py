"""Graphs in files, run by the programs they are meant for."""

import warnings
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from allmlp.engine.backends.base import Runner


def onnx_session(path: Path, threads: int) -> Runner:
    """An ONNX file's one input → its first output, by ONNX Runtime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads would keep cores busy
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(inputs: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {name: inputs.numpy()})[0])

    return run


def openvino_session(path: Path, threads: int, hint: str = "f32") -> Runner:
    """The same of OpenVINO's representation; one call at a time. hint: what it may compute in, "f32" or "bf16"."""
    import openvino

    values: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": hint,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
    }
    request = openvino.Core().compile_model(path, "CPU", values).create_infer_request()
    alone = Lock()

    def run(inputs: Tensor) -> Tensor:
        with alone:
            return torch.from_numpy(request.infer([inputs.numpy()], share_inputs=True)[0]).clone()

    return run


def executorch_session(path: Path, threads: int) -> Runner:
    """The same of ExecuTorch's program; one call at a time. Its threads are the process's: the last session's number holds."""
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that its threads are an experiment
        if portable_lib._threadpool_get_thread_count() != threads:
            portable_lib._unsafe_reset_threadpool(threads)
    method = Runtime.get().load_program(path).load_method("forward")
    if method is None:
        raise ValueError("it has no method forward")
    alone = Lock()

    def run(inputs: Tensor) -> Tensor:
        with alone:
            return method.execute([inputs.contiguous()])[0].clone()

    return run


def litert_session(path: Path, threads: int) -> Runner:
    """The same of LiteRT's flatbuffer; one call at a time."""
    from ai_edge_litert.interpreter import Interpreter

    program = Interpreter(str(path), num_threads=threads)
    program.allocate_tensors()
    entry, answer = program.get_input_details()[0]["index"], program.get_output_details()[0]["index"]
    alone = Lock()

    def run(inputs: Tensor) -> Tensor:
        with alone:
            program.set_tensor(entry, inputs.numpy())
            program.invoke()
            return torch.from_numpy(program.get_tensor(answer))

    return run
