"""Shapes that exporters compute in the graph are understood, and nothing is made up."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from onnxplain.autodiff import differentiate
from onnxplain.autodiff.prepare.order import prepare

from support.checker import session

HEADER = '<ir_version: 8, opset_import: ["" : 18]>\n'


def shape_of_y(body: str, inputs: str = "float[N,T,12] x", output: str = "float[a,b,c] y") -> list[int | str]:
    """What inference says of the value before y, which an Identity hides from the declared shape."""
    text = f"{HEADER} g ({inputs}) => ({output}) {{ {body} y = Identity(z) }}"
    model = ir.serde.deserialize_model(onnx.parser.parse_model(text))
    prepare(model)
    value = next(v for node in model.graph for v in node.outputs if v.name == "z")
    assert value.shape is not None
    return [d if isinstance(d, int) else str(d.value) for d in value.shape]


CHAINS = {
    "largest": ("k = Constant<value_ints=[2]>() z, i = TopK<axis=2>(x, k)", ["N", "T", 2]),
    "indices-of-the-largest": (
        "k = Constant<value_ints=[2]>() v, i = TopK<axis=1>(x, k) z = Cast<to=1>(i)",
        ["N", 2, 12],
    ),
    "view": (
        """s = Shape(x) i = Constant<value = int64[1] {0}>() n = Gather(s, i)
        r = Constant<value = int64[2] {-1, 4}>() t = Concat<axis=0>(n, r) z = Reshape(x, t)""",
        ["N", "3*T", 4],
    ),
    "split-heads": (
        """s = Shape(x) i = Constant<value_int=0>() j = Constant<value_int=2>() n = Gather(s, i) c = Gather(s, j)
        three = Constant<value_int=3>() d = Div(c, three) a = Constant<value = int64[1] {0}>()
        n1 = Unsqueeze(n, a) d1 = Unsqueeze(d, a) m = Constant<value = int64[1] {-1}>() h = Constant<value_ints=[3]>()
        t = Concat<axis=0>(n1, m, h, d1) z = Reshape(x, t)""",
        ["N", "T", 3, 4],
    ),
    "there-and-back": (
        """s = Shape(x) f = Constant<value = int64[2] {-1, 12}>() flat = Reshape(x, f)
        u = Shape(flat) v = Mul(u, u) w = Div(v, u) again = Reshape(flat, w) z = Reshape(again, s)""",
        ["N", "T", 12],
    ),
    "expand-minus-one": (
        """p = Constant<value = float[1,1,12] {0,0,0,0,0,0,0,0,0,0,0,0}>() s = Shape<start=0, end=1>(x)
        m = Constant<value = int64[2] {-1, -1}>() t = Concat<axis=0>(s, m) k = Constant<value_ints=[3]>()
        ones = ConstantOfShape<value = int64[1] {1}>(k) minus = Constant<value_ints=[-1]>() neg = Mul(ones, minus)
        q = Equal(t, neg) w = Where(q, ones, t) z = Expand(p, w)""",
        ["N", 1, 12],
    ),
    "sliced-shape": (
        """s = Shape(x) a = Constant<value_ints=[0]>() b = Constant<value_ints=[2]>() h = Slice(s, a, b, a)
        m = Constant<value_ints=[-1]>() t = Concat<axis=0>(h, m) z = Reshape(x, t)""",
        ["N", "T", 12],
    ),
    "slice-to-its-end": (
        """t = Shape<start=1, end=2>(x) s = Constant<value_ints=[0]>() a = Constant<value_ints=[1]>()
        z = Slice(x, s, t, a)""",
        ["N", "T", 12],
    ),
    "pad-one-axis-by-something": (
        """p = Shape<start=1>(x) a = Constant<value_ints=[1]>() v = Pad(x, p, , a) s = Constant<value_ints=[0]>()
        e = Constant<value_ints=[9]>() z = Slice(v, s, e, a)""",
        ["N", "Slice", 12],
    ),
    "size": (
        """n = Size(x) k = Constant<value_int=24>() h = Div(n, k) a = Constant<value_ints=[0]>() u = Unsqueeze(h, a)
        r = Constant<value_ints=[4, 6]>() t = Concat<axis=0>(u, r) z = Reshape(x, t)""",
        ["Reshape", 4, 6],
    ),
    "tile": ("r = Constant<value = int64[3] {1, 2, 1}>() z = Tile(x, r)", ["N", "2*T", 12]),
    "zero-copies": ("t = Constant<value = int64[3] {0, -1, 6}>() z = Reshape(x, t)", ["N", "2*T", 6]),
    "product": (
        """s = Shape(x) p = ReduceProd<keepdims=1>(s) q = Constant<value_ints=[2]>() half = Div(p, q)
        t = Concat<axis=0>(half, q) w = Reshape(x, t) a = Constant<value_ints=[0]>() z = Unsqueeze(w, a)""",
        [1, "6*N*T", 2],
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_understood(name: str) -> None:
    body, expected = CHAINS[name]
    found = [d.split("_")[0] if isinstance(d, str) else d for d in shape_of_y(body)]  # made-up names: the operator
    assert found == expected


def test_resize_to_the_size_of_another_tensor() -> None:
    found = shape_of_y(
        """s = Shape(b) z = Resize<mode="nearest">(x, , , s)""",
        "float[N,3,H,W] x, float[N,3,P,Q] b",
        "float[i,j,k,l] y",
    )
    assert found == ["N", 3, "P", "Q"]


def test_range_over_a_dimension() -> None:
    found = shape_of_y(
        """n = Shape<start=1, end=2>(x) a = Constant<value_ints=[0]>() e = Squeeze(n, a)
        zero = Constant<value_int=0>() one = Constant<value_int=1>() r = Range(zero, e, one) z = Cast<to=1>(r)""",
        output="float[a] y",
    )
    assert found == ["T"]


@pytest.mark.parametrize(
    ("resize", "kept"),
    [
        ("z = Resize<coordinate_transformation_mode='half_pixel'>(x, , s)", True),
        ("z = Resize<keep_aspect_ratio_policy='stretch'>(x, , s)", True),
        ("z = Resize<coordinate_transformation_mode='tf_crop_and_resize'>(x, r, s)", False),
    ],
)
def test_an_extent_whose_scale_is_one_is_kept(resize: str, kept: bool) -> None:
    body = f"""s = Constant<value = float[3] {{1, 2, 1}}>() r = Constant<value = float[6] {{0, 0, 0, 0.5, 1, 1}}>()
    {resize}"""
    found = shape_of_y(body.replace("'", '"'))
    assert (found[0] == "N") == kept and found[1] not in ("T", "N")


@pytest.mark.parametrize(
    "computed",
    [
        "f = Cast<to=1>(t) two = Constant<value_float=2.0>() h = Div(f, two) k = Cast<to=7>(h)",  # 5 / 2 = 2.5
        "two = Constant<value_ints=[2]>() k = Div(t, two)",  # rounds down
        "two = Constant<value_ints=[2]>() k = Sub(t, two)",
        "one = Constant<value_ints=[1]>() k = Max(t, one)",
    ],
)
def test_what_is_not_understood_gets_a_name_of_its_own(computed: str) -> None:
    body = f"""t = Shape<start=1, end=2>(x) {computed} s = Constant<value_ints=[0]>() a = Constant<value_ints=[1]>()
    z = Slice(x, s, k, a)"""
    found = shape_of_y(body)
    assert found[0] == "N" and found[2] == 12 and found[1] not in ("T", "N", 12)


def test_residual_of_a_reshaped_branch_needs_no_broadcasting() -> None:
    """The branch of a transformer block returns by Shape, Slice, Concat, Reshape to the shape it left."""
    text = f"""{HEADER} g (float[N,T,12] x) => (float[N,T,12] y) {{
    h = Constant<value = int64[4] {{0, -1, 3, 4}}>() split = Reshape(x, h) turned = Transpose<perm=[0,2,1,3]>(split)
    back = Transpose<perm=[0,2,1,3]>(turned) s = Shape(back) a = Constant<value_ints=[0]>()
    b = Constant<value_ints=[2]>() head = Slice(s, a, b, a) m = Constant<value_ints=[-1]>()
    t = Concat<axis=0>(head, m) merged = Reshape(back, t) y = Add(x, merged) }}"""
    model = differentiate(onnx.parser.parse_model(text), target="cotangent")
    assert not {"NonZero", "ReduceSum"} & {node.op_type for node in model.graph.node}
    x = np.random.default_rng(0).standard_normal((2, 5, 12)).astype(np.float32)
    (gradient,) = session(model).run(["grad_x"], {"x": x, "cotangent": x})
    np.testing.assert_array_equal(gradient, 2 * x)
