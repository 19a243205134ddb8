"""What passes report, and that a pass which breaks the graph is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx_ir as ir
import pytest

from onnxplain import differentiate
from onnxplain.autodiff.forms import order as forms
from onnxplain.autodiff.graph.checks import find_any_flaw, find_flaw
from onnxplain.autodiff.graph.editing import set_input
from onnxplain.autodiff.graph.emitter import Emitter
from onnxplain.autodiff.graph.inference import Inference
from onnxplain.autodiff.graph.io import read_model
from onnxplain.autodiff.graph.passes import (
    BrokenGraphError,
    Pass,
    Report,
    Runner,
    Step,
    Work,
    checking,
    fired,
    graph_pass,
    left,
)
from onnxplain.autodiff.prepare import order as preparation

from support.graphs import classifier
from support.small_models import signal


def work() -> Work:
    model = read_model(classifier())
    return Work(model, Emitter(model.graph, Inference(model.graph.opset_imports)))


@graph_pass(needs="a product", ensures="nothing")
def half_done(work: Work) -> Iterator[Step]:
    yield fired("Mul")
    yield left("MatMul", "it is Tuesday")
    yield left("Add", "it is Tuesday")


def test_a_report_counts_what_fired_and_groups_the_reasons() -> None:
    report, subject = Report(), work()
    assert half_done.name == "half_done" and half_done.needs == "a product"
    runner = Runner(subject.model, "before", report)
    assert runner.run(half_done, subject)
    assert report.counts() == {"half_done": (1, 2)}
    (record,) = report.records
    assert (record.phase, record.fired, record.left) == ("before", 1, {"it is Tuesday": 2})
    assert str(report.of("half_done")[1]) == "half_done: MatMul: left alone: it is Tuesday"


def test_what_was_left_alone_is_looked_at_again() -> None:
    """In a fixed point the last run says what stays; another model's outcomes stay as they are."""
    report, subject = Report(), work()
    runner = Runner(subject.model, "before", report)
    runner.run(half_done, subject)
    runner.run(half_done, subject)
    assert report.counts() == {"half_done": (2, 2)}
    Runner(subject.model, "before", report).run(half_done, subject)
    assert report.counts() == {"half_done": (3, 4)}


def test_a_pass_that_meets_nothing_is_in_the_report_too() -> None:
    report = Report()
    assert not Runner(work().model, "after", report).run(graph_pass(needs="", ensures="")(lambda _: iter(())), work())
    assert len(report.records) == 1 and report.counts() == {}


def test_every_pass_says_what_it_needs_and_ensures() -> None:
    report = Report()
    for form in ("cpu", "portable", "openvino"):
        differentiate(signal(), form=form, report=report)
    before = [*preparation.NAMED, *preparation.READABLE, *preparation.KNOWN]
    passes = [*before, *(one for every in forms.PASSES.values() for one in every)]
    assert {one.name for one in passes} - {record.name for record in report.records} == {"winograd_large_convolutions"}
    assert all(record.needs and record.ensures and not record.ensures.endswith(".") for record in report.records)
    of_one = Report()
    differentiate(signal(), form="cpu", report=of_one)
    assert len({record.name for record in of_one.records}) == len(of_one.records)


def removes_by_force(subject: Work) -> None:
    subject.model.graph.remove(subject.model.graph[0])


def reads_nothing(subject: Work) -> None:
    set_input(subject.model.graph[1], 0, work().model.graph[0].outputs[0])


def gives_a_name_twice(subject: Work) -> None:
    subject.model.graph[0].outputs[0].name = "logits"


def reads_itself(subject: Work) -> None:
    set_input(subject.model.graph[0], 0, subject.model.graph[1].outputs[0])


def loses_the_output(subject: Work) -> None:
    subject.model.graph.outputs[0] = work().model.graph[0].outputs[0]


BROKEN: list[tuple[Callable[[Work], None], str]] = [
    (removes_by_force, "was removed and reads 'x' still"),
    (reads_nothing, r"\(MatMul\) reads 'xx', which nothing (before it )?makes"),
    (gives_a_name_twice, "two values have the name 'logits'"),
    (reads_itself, "(reads 'logits', which nothing before it makes|reads what is made of its own result)"),
    (loses_the_output, "nothing makes the output 'xx'"),
]


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(("harm", "flaw"), BROKEN)
def test_the_pass_that_breaks_the_graph_is_named(harm: Callable[[Work], None], flaw: str, ordered: bool) -> None:
    @graph_pass(needs="nothing", ensures="peace")
    def clumsy(subject: Work) -> Iterator[Step]:
        harm(subject)
        yield fired("everything")

    subject = work()
    with checking():
        runner = Runner(subject.model, "before", ordered=ordered)
        runner.run(half_done, subject)
        with pytest.raises(BrokenGraphError, match=rf"the pass 'clumsy' broke the graph: .*{flaw}; .*ensure: peace\."):
            runner.run(clumsy, subject)


def test_a_broken_pass_among_the_forms_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that only ONNX's full checker sees through, on demand."""

    @graph_pass(needs="a gradient", ensures="less")
    def forgets_an_input(subject: Work) -> Iterator[Step]:
        for node in subject.emit.graph:
            if node.op_type == "ConvTranspose":
                set_input(node, 1, None)
                yield fired(node)

    monkeypatch.setitem(forms.PASSES, "cpu", (forgets_an_input, *forms.PASSES["cpu"]))
    with checking(find_any_flaw), pytest.raises(BrokenGraphError, match="the pass 'forgets_an_input' broke the graph"):
        differentiate(signal(), form="cpu")


def test_whole_differentiations_are_sound_by_the_full_checker() -> None:
    for form in ("portable", "cpu"):
        with checking(find_any_flaw):
            differentiate(signal(), form=form)
            differentiate(classifier(), form=form, precision="float16")


def test_a_graph_that_was_unsound_before_is_nobodys_fault() -> None:
    subject = work()
    gives_a_name_twice(subject)
    with checking():
        Runner(subject.model, "before").run(half_done, subject)


def test_the_tests_check_every_pass() -> None:
    subject = work()
    mend: Pass[Work] = graph_pass(needs="nothing", ensures="peace")(lambda s: iter([fired(str(reads_nothing(s)))]))
    runner = Runner(subject.model, "before")
    with pytest.raises(BrokenGraphError):
        runner.run(mend, subject)


def test_subgraphs_see_what_is_outside_of_them() -> None:
    model = ir.from_onnx_text("""<ir_version: 8, opset_import: ["" : 18]>
        g (float[N] x, bool yes) => (float[N] y) {
            a = Neg(x)
            y = If(yes)<
                then_branch = t () => (float[N] b) { b = Abs(a) }, else_branch = e () => (float[N] c) { c = Neg(a) }
            >
        }""")
    assert find_flaw(model) is None
    then = model.graph[1].attributes["then_branch"].as_graph()
    set_input(then[0], 0, model.graph[1].outputs[0])
    assert "reads 'y', which nothing before it makes" in str(find_flaw(model))
    assert "reads what is made of its own result" in str(find_flaw(model, ordered=False))
