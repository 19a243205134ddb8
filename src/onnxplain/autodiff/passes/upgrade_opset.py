"""placeholder"""

import onnx_ir as ir


def upgrade_opset(model: ir.Model) -> None:
    pass
