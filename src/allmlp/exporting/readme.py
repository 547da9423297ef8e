"""A bundle's README: what it is, how to load it, and how near it is to its model."""

from typing import Any

from allmlp.exporting.formats.base import Format, Order

TEXT = """\
# {name}, {title}, {precision}

{classes} classes, {size} pixels. This loads it without allmlp (`pip install {needs}`):

```python
{code}```

{reads}{notes}
Compared with the model in float32 on {images} {of}{by}: logits off by
{deviation:.1e}, relative to their norm; {agreement:.1%} of the decisions the same.{inside}
`bundle.json` has the classes, the preprocessing, versions and hashes.
"""
READS = """\
`read_image.py` reads image files as allmlp does: EXIF's orientation applied, transparency on white, {deep}.
A program in another language must do the same, and then what the code above does.

"""
WORDS = {
    "onnx": "ONNX opset {opset}. Input `{name}`: {shape}, {dtype}; output `logits`, float32.",
    "openvino": "Input `{name}`: {shape}, {dtype}; output `logits`, float32. Without the hint OpenVINO may compute in bf16.",
    "executorch": "Input `{name}`: {shape}, {dtype}; output: logits, float32. XNNPACK computes it, on any phone's CPU.",
    "litert": "Signature `serving_default`. Input `{name}`: {shape}, {dtype}; output `logits`, float32.",
    "coreml": "Input `{name}`: {shape}, {dtype}; output `logits`, float32. It runs on iOS 16, macOS 13 and later.",
    "torch": "Input `{name}`: {shape}, {dtype}; output: logits, float32. Reading a .pt2 unpickles: load only those you trust.",
    "safetensors": 'With allmlp: `allmlp.load("model.safetensors").predict([picture])`.',
    "timm": "The weights are in timm's layout; `config.json` is what timm reads.",
}


def readme(made: Format, order: Order, card: dict[str, Any]) -> str:
    """card: what bundle.json says."""
    entry, figures = order.input, card["parity"]
    shape = " × ".join(map(str, entry["shape"]))
    opset = ", ".join(f"{v}" if k == "ai.onnx" else f"{k} {v}" for k, v in card.get("opset", {}).items())
    inside = ""
    if order.with_preprocessing:
        inside = f"\nWith the preprocessing in the graph beside Pillow's, off by {figures['deviation_with_preprocessing']:.1e}."
    between = order.model.preprocessing.value_range
    deep = "deep values (16 and 32 bits, floats) as 8 bits"
    deep += (
        " by the range of their type, or their own" if between is None else f": {between[0]:g} is black, {between[1]:g} white"
    )
    return TEXT.format(
        reads=READS.format(deep=deep) if made.reads_images else "",
        name=card["name"],
        title=made.title,
        precision=order.precision,
        classes=len(card["classes"]),
        size="×".join(map(str, order.model.img_size)),
        needs=" ".join(made.needs),
        code=made.code(order),
        notes=WORDS[made.name].format(opset=opset, name=entry["name"], shape=shape, dtype=entry["dtype"]),
        images=figures["images"],
        of=figures["of"],
        deviation=figures["deviation"],
        agreement=figures["agreement"],
        by=f", computed by {card['compared_by']}" if "compared_by" in card else "",
        inside=inside,
    )
