"""Every backend by its name."""

from allmlp.engine.backends.base import Backend
from allmlp.engine.backends.cuda import CUDA
from allmlp.engine.backends.eager import Eager
from allmlp.engine.backends.inductor import Inductor
from allmlp.engine.backends.onnx import ONNXRuntime
from allmlp.engine.backends.openvino import OpenVINO
from allmlp.engine.backends.planned import Planned

BACKENDS: dict[str, Backend] = {
    backend.name: backend for backend in (Planned(), OpenVINO(), ONNXRuntime(), CUDA(), Eager(), Inductor())
}
