"""What may be exported: formats, precisions, and the packages each needs."""

from __future__ import annotations

from dataclasses import dataclass

from spice_keras.errors import UserError
from spice_keras.extras import require_extra
from spice_keras.options import ExportFormat, ExportPrecision

FILES: dict[ExportFormat, str] = {
    "keras": "model.keras",
    "litert": "model.tflite",
    "onnx": "model.onnx",
    "openvino": "model.xml",
}
"""The file of each format, beside its card."""
PRECISIONS: dict[ExportFormat, tuple[ExportPrecision, ...]] = {
    "savedmodel": ("float32",),
    "keras": ("float32",),
    "litert": ("float32", "float16", "int8"),
    "onnx": ("float32", "float16", "int8"),
    "openvino": ("float32", "float16", "int8"),
}
"""What each format can be stored in."""
_MODULES: dict[ExportFormat, tuple[str, ...]] = {
    "litert": ("ai_edge_litert",),
    "onnx": ("tf2onnx", "onnx", "onnxruntime"),
    "openvino": ("openvino",),
}


@dataclass(frozen=True)
class Wanted:
    """One file that is to be written.

    Attributes:
        format: What it is written as.
        precision: What its weights are stored in.
    """

    format: ExportFormat
    precision: ExportPrecision = "float32"

    @property
    def folder(self) -> str:
        """Name of its folder, such as `onnx` or `onnx-int8`."""
        whole = self.precision == "float32"
        return self.format if whole else f"{self.format}-{self.precision}"

    @property
    def file(self) -> str:
        """Name of its file."""
        return FILES[self.format]


def refuse_impossible(wanted: Wanted) -> None:
    """Refuse a format whose packages are missing, or that cannot have this precision.

    Args:
        wanted: What is to be written.

    Raises:
        UserError: With what to install, or what to choose.
    """
    if wanted.precision not in PRECISIONS[wanted.format]:
        able = [name for name, known in PRECISIONS.items() if wanted.precision in known]
        raise UserError(
            f"--format {wanted.format} is written in float32 alone. Received: --precision "
            f"{wanted.precision}, which {', '.join(able)} can have."
        )
    modules = [(wanted.format, module) for module in _MODULES.get(wanted.format, ())]
    if wanted == Wanted("openvino", "int8"):  # quantised by ONNX Runtime
        modules += [("onnx", module) for module in _MODULES["onnx"]]
    for extra, module in modules:
        purpose, rest = f"--format {wanted.format}", "leave this format out"
        require_extra(extra, module, purpose=purpose, otherwise=rest)
