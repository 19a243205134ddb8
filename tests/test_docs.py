"""The pages say what there is, and nothing else; their code runs."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from PIL import Image

import onnxplain
from onnxplain import cli
from onnxplain.bundled import bundled_model
from onnxplain.evaluation.measures import AGREEMENTS, METRICS
from onnxplain.layout import DETECTORS, PLAIN

from support import REPOSITORY
from support.command_line import Runner, every_command
from support.pages import blocks, commands, furnish, run_page

DOCS = REPOSITORY / "docs"
SETTINGS = DOCS / "reference" / "settings.md"
#: Pages whose blocks other tests run, with a service or in an environment of its own.
ELSEWHERE = {"bulk.md", "serving.md", "page.md", "custom_rules.md", "engines"}
#: Pages with long runs of this repository's own tests, or of its packaging.
CONTRIBUTORS = {"reliability.md", "packaging.md"}
PAGES = ("index", "coming_from", "targets", "deployment_files", "packages", "native_operators", "records", "openvino")
RUN = [REPOSITORY / "README.md", *sorted(DOCS.glob("guides/*.md")), *(DOCS / f"{name}.md" for name in PAGES)]
#: Why a block may be left out of the run.
REASONS = {
    "it needs Keras",
    "it needs scikit-learn",
    "it needs ultralytics",
    "it needs a detector of that shape",
    "it needs a log",
}


def everything() -> list[Path]:
    return [REPOSITORY / "README.md", *sorted(DOCS.rglob("*.md"))]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> Path:
    """Return the current folder, which has the files that pages name; pages share the cache of prepared models."""
    furnish(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONNXPLAIN_CACHE", str(cache))
    return tmp_path


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    if sys.version_info < (3, 11):
        pytest.skip("overloads are known from Python 3.11 on")
    monkeypatch.syspath_prepend(str(DOCS))
    import reference

    return reference


def test_the_reference_is_what_the_script_writes(reference: ModuleType) -> None:
    for name, text in reference.pages().items():
        assert (reference.FOLDER / name).read_text(encoding="utf-8") == text, "run python docs/reference.py"


def test_every_command_says_what_its_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page has the options that ``--help`` prints, and no others."""
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("NO_COLOR", "1")
    run = Runner(tmp_path, monkeypatch, capsys)
    page = (DOCS / "reference" / "commands.md").read_text(encoding="utf-8")
    named = r"(?<![\w-])--[a-z][\w-]*"
    commands = every_command()
    assert re.findall(r"^## (.*)", page, re.MULTILINE) == list(commands)
    for name in commands:
        part = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        cells = re.findall(r"^\| `(-.*?)` \|", part, re.MULTILINE)
        lines = re.findall(r"^[│|\s*]*(-.*)", run(name, "--help").out, re.MULTILINE)
        told, printed = ({one.group() for text in texts if (one := re.search(named, text))} for texts in (cells, lines))
        assert told == printed - {"--help"}, name


@pytest.mark.slow
@pytest.mark.filterwarnings("default::onnxplain.ConvergenceWarning")
def test_every_example_runs(folder: Path, monkeypatch: pytest.MonkeyPatch, reference: ModuleType) -> None:
    pytest.importorskip("torch")
    monkeypatch.setenv("ONNXPLAIN_CACHE", str(folder / "cache"))  # an example empties it
    from api_examples import EXAMPLES, GROUPS

    x = np.random.default_rng(0).standard_normal((2, 3, 224, 224)).astype(np.float32)
    names = {"__name__": "example", "onnxplain": onnxplain, "photo": "photo.jpg", "x": x}
    names["explainer"] = onnxplain.Explainer()
    from onnxplain.methods import METHODS

    pytest.importorskip("pyarrow")
    assert main_of("bulk", "model.onnx", "photos", "-o", "maps", "--quiet") == 0
    before = dict(METHODS)
    try:
        for group in GROUPS.values():
            for name in group:
                exec(compile(EXAMPLES[name], f"the example of {name}", "exec"), names)
    finally:
        METHODS.clear()
        METHODS.update(before)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_the_blocks_run(
    page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = [block for block in blocks(page) if block.reason is None]
    assert run_page(page, Runner(folder, monkeypatch, capsys)) == len(there)


def test_blocks_are_left_out_for_reasons_that_are_listed() -> None:
    for page in everything():
        assert {block.reason for block in blocks(page)} <= {None, *REASONS}, page


def test_every_block_is_run_somewhere() -> None:
    """Of the pages for users; the reference has examples of its own, notes of decisions have none."""
    pages = {page for page in everything() if blocks(page) and page.parent.name not in ("reference", "decisions")}
    left = pages - set(RUN)
    assert {page.name for page in left if page.parent.name not in ELSEWHERE} == (ELSEWHERE | CONTRIBUTORS) - {"engines"}


@pytest.mark.slow
@pytest.mark.parametrize("notebook", sorted(DOCS.glob("notebooks/*.py")), ids=lambda path: path.stem)
def test_the_notebooks_run(notebook: Path, folder: Path) -> None:
    runpy.run_path(str(notebook), run_name="__main__")


@pytest.mark.slow
def test_a_hugging_face_folder_is_enough(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its facts are stated in two files, its labels have a gap."""
    model = onnx.load(folder / "model.onnx")
    labels = json.loads(next(one.value for one in model.metadata_props if one.key == "onnxplain.labels"))
    del model.metadata_props[:]
    onnx.save(model, folder / "model.onnx")
    names = {str(index): label for index, label in enumerate(labels) if index != 5}
    (folder / "config.json").write_text(json.dumps({"id2label": names}), encoding="utf-8")
    facts = {"do_resize": True, "size": {"shortest_edge": 256}, "resample": 3, "do_center_crop": True, "crop_size": 224}
    facts |= {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
    facts |= {"image_mean": [127 / 255] * 3, "image_std": [128 / 255] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(facts), encoding="utf-8")
    program = str(DOCS / "integrations" / "hugging_face_folder.py")
    monkeypatch.setattr(sys, "argv", [program, str(folder), str(folder / "photo.jpg"), str(folder / "why.png")])
    runpy.run_path(program, run_name="__main__")
    with Image.open(folder / "why.png") as picture:
        assert picture.size == (451, 300)


def main_of(*words: str) -> int | str | None:
    """Run a command of this process; return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["onnxplain", *words])
        with pytest.raises(SystemExit) as caught:
            cli.main()
    return caught.value.code or 0


def constants(pattern: str, *folders: str) -> set[str]:
    """What a pattern finds in the sources."""
    files = [path for folder in folders for path in (REPOSITORY / folder).rglob("*") if path.suffix in (".py", ".cpp")]
    return {name for path in files for name in re.findall(pattern, path.read_text(encoding="utf-8"))}


def test_every_environment_variable_is_listed() -> None:
    read = constants(r"[\"'](ONNXPLAIN_[A-Z]+)[\"']", "src", "cpp")
    listed = set(re.findall(r"^\| `(ONNXPLAIN_[A-Z]+)`", SETTINGS.read_text(encoding="utf-8"), re.M))
    assert read and listed == read


def test_no_page_names_an_environment_variable_that_is_not_read() -> None:
    read = constants(r"(ONNXPLAIN_[A-Z_]+)", "src", "cpp", "tests", "benchmarks")
    read |= set(re.findall(r"option\((ONNXPLAIN_[A-Z_]+)", (REPOSITORY / "CMakeLists.txt").read_text("utf-8")))
    named = {name for page in everything() for name in re.findall(r"ONNXPLAIN_[A-Z_]+", page.read_text("utf-8"))}
    assert named <= read


def test_every_exit_code_is_listed() -> None:
    from onnxplain.cli.bulk import WITH_ERRORS
    from onnxplain.cli.common import FAILED, INTERRUPTED

    listed = re.findall(r"^\| (\d+) \|", SETTINGS.read_text(encoding="utf-8"), re.M)
    assert {int(code) for code in listed} == {0, FAILED, 2, WITH_ERRORS, INTERRUPTED}


def test_every_metadata_key_is_listed() -> None:
    from onnxplain.autodiff.describe import _INPUTS, _WHAT

    keys = constants(r"METADATA_KEY = \"onnxplain\.(\w+)\"", "src/onnxplain")
    keys |= constants(r"public\.record\(\"(\w+)\"", "src/onnxplain") | {*_WHAT, *_INPUTS, "inputs", "outputs"}
    model = onnxplain.differentiate(bundled_model(), saliency=True)
    found = {one.key.split(".")[1] for one in model.metadata_props if one.key.startswith("onnxplain.")}
    listed = set(re.findall(r"^\| `onnxplain\.(\w+)", SETTINGS.read_text(encoding="utf-8"), re.M))
    assert listed == keys | found


def test_every_metric_and_layout_is_described() -> None:
    page = (DOCS / "guides" / "evaluation.md").read_text(encoding="utf-8")
    assert [name for name in (*METRICS, *AGREEMENTS) if f"`{name}`" not in page] == []
    page = (DOCS / "targets.md").read_text(encoding="utf-8")
    assert [name for name in (*PLAIN, *DETECTORS) if f'`"{name}"' not in page] == []


def test_no_page_names_an_option_that_no_command_has() -> None:
    known = {
        option
        for command in every_command().values()
        for one in command.params
        for option in (*one.opts, *one.secondary_opts)
    } | {"--help", "--version"}
    for page in everything():
        for block in blocks(page):
            if block.kind == "bash":
                for words in commands(block.code):
                    given = {word.partition("=")[0] for word in words if word.startswith("--")}
                    assert words[0] != "onnxplain" or given <= known, (page.name, given - known)


def test_no_page_names_a_public_name_that_is_not_there() -> None:
    for page in everything():
        if page.parent.name == "decisions":
            continue
        for path in re.findall(r"`onnxplain\.([A-Za-z_]+)[`(]", page.read_text(encoding="utf-8")):
            listed = re.search(rf"^\| `onnxplain\.{path}", SETTINGS.read_text(encoding="utf-8"), re.M)
            assert listed or hasattr(onnxplain, path) or (REPOSITORY / "src/onnxplain" / path).exists(), (page, path)


def test_captums_main_attributions_are_in_coming_from() -> None:
    page = (DOCS / "coming_from.md").read_text(encoding="utf-8")
    captum = pytest.importorskip("captum.attr")
    main = (
        "Saliency", "InputXGradient", "IntegratedGradients", "GuidedBackprop", "Deconvolution", "GuidedGradCam",
        "LayerGradCam", "NoiseTunnel", "GradientShap", "Occlusion", "FeatureAblation", "DeepLift",
    )  # fmt: skip
    assert all(hasattr(captum, name) for name in main)
    assert [name for name in main if not re.search(rf"^\| `{name}`", page, re.M)] == []
