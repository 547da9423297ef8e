"""Every format by its name."""

from allmlp.exporting.formats.base import Format
from allmlp.exporting.formats.coreml import CoreML
from allmlp.exporting.formats.executorch import ExecuTorch
from allmlp.exporting.formats.litert import LiteRT
from allmlp.exporting.formats.onnx import ONNX
from allmlp.exporting.formats.openvino import OpenVINO
from allmlp.exporting.formats.program import Program
from allmlp.exporting.formats.weights import Safetensors, Timm

FORMATS: dict[str, Format] = {
    made.name: made for made in (ONNX(), OpenVINO(), ExecuTorch(), LiteRT(), CoreML(), Program(), Safetensors(), Timm())
}
