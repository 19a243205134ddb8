"""Write docs/reference/: the API from docstrings, the commands from their own help, the options of methods.

python docs/reference.py          # needs Python 3.11, as docs/api.py does
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import api
import click
from api_examples import EXAMPLES, GROUPS, NOTES
from gallery_texts import METHOD_TEXTS

import onnxplain
from onnxplain import cli
from onnxplain.methods import METHODS

FOLDER = Path(__file__).with_name("reference")
_WRITTEN = "Written by `python docs/reference.py`; a test compares."
_ROLE = re.compile(r":\w+:`~?\.*([^`]+)`")
_SECTION = re.compile(r"^(Raises|Returns|Args|Warns|Yields):$")


def pages() -> dict[str, str]:
    """The pages by the names of their files."""
    return {"api.md": api_page(), "commands.md": commands_page(), "methods.md": methods_page()}


def names() -> list[str]:
    """Every public name with its modules, without the package: ``Explainer``, ``metrics.deletion``."""
    found = []
    for name in onnxplain.__all__:
        value = getattr(onnxplain, name)
        found += [f"{name}.{inner}" for inner in value.__all__] if isinstance(value, ModuleType) else [name]
    return found


def api_page() -> str:
    """Every public name: signature, docstring, example."""
    grouped = [name for group in GROUPS.values() for name in group]
    apart = set(names()) ^ set(grouped) | set(names()) ^ set(EXAMPLES)
    if apart:
        raise SystemExit(f"api_examples.py and the public names differ in {', '.join(sorted(apart))}")
    lines = [
        "# API",
        "",
        f"Every public name of `onnxplain`, with its signature and an example that the tests run. {_WRITTEN}",
        "In the examples `explainer` is `onnxplain.Explainer()`, the bundled classifier, `photo` is the path of a JPEG "
        "file, and `x` is a float32 array [2,3,224,224] as the classifier takes it.",
        "",
    ]
    for title, group in GROUPS.items():
        lines += [f"## {title}", ""]
        for name in group:
            lines += _entry(name)
    return "\n".join(lines)


def _entry(name: str) -> Iterator[str]:
    """The lines about one name."""
    prefix, _, last = name.rpartition(".")
    owner = getattr(onnxplain, prefix) if prefix else onnxplain
    value = getattr(owner, last)
    described = "\n".join(api.described(f"onnxplain.{prefix}".rstrip("."), last, owner)).strip()
    yield from (f"### {name}", "")
    if described:
        yield from ("```text", "\n".join(map(_wrapped, described.splitlines())), "```", "")
    words = NOTES.get(name) or inspect.getdoc(value) or ""
    yield from (markdown(words), "")
    if inspect.isclass(value) and value.__module__.startswith("onnxplain"):
        yield from _methods_of(value)
    yield from ("```python", EXAMPLES[name].strip(), "```", "")


def _wrapped(line: str) -> str:
    """A signature in lines that a page has room for."""
    indent = " " * (len(line) - len(line.lstrip()) + 8)
    return textwrap.fill(line, 88, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _methods_of(kind: type) -> Iterator[str]:
    """What the public methods of a class say, those with a docstring."""
    for name, member in inspect.getmembers(kind):
        function = getattr(member, "fget", None) or getattr(member, "func", None) or member
        words = None if name.startswith("_") or not callable(function) else inspect.getdoc(function)
        if words and getattr(function, "__module__", "").startswith("onnxplain"):
            yield from (f"**`{name}`** {markdown(words)}", "")
    words = inspect.getdoc(vars(kind).get("__init__"))
    if words and not words.startswith("Initialize self"):
        yield from (f"**`{kind.__name__}(...)`** {markdown(words)}", "")


def markdown(text: str) -> str:
    """A docstring as Markdown: roles become code, sections become lists, literal blocks become blocks."""
    text = text.partition("\f")[0].replace("``", "`")
    text = _ROLE.sub(lambda match: f"`{match.group(1).rpartition('.')[2]}`", text)
    lines: list[str] = []
    literal = section = False
    for line in text.rstrip().splitlines():
        indented = line.startswith("    ")
        if literal and line and not indented:
            lines += ["```", ""]
            literal = False
        if _SECTION.match(line):
            lines += [f"**{line}**", ""]
            section = line not in ("Returns:", "Yields:")
        elif line.endswith("::"):
            lines += [line[:-1], "", "```text"]
            literal = True
        elif section and re.match(r"    \w[\w ,]*: ", line):
            kind, _, rest = line.strip().partition(": ")
            lines.append(f"- `{kind}`: {rest}")
        elif literal or not section:
            lines.append(line[4:] if literal or (indented and lines and not lines[-1].startswith("- ")) else line)
        else:
            section = indented or not line
            lines.append(f"  {line.strip()}".rstrip() if indented else line)
    return "\n".join([*lines, "```"] if literal else lines).strip()


def commands_page() -> str:
    """Every command with its arguments and options."""
    group = click.Context(cli.app)
    lines = ["# Commands", "", f"What `onnxplain COMMAND --help` says. {_WRITTEN}", ""]
    lines += ["| command | what it does |", "|---|---|"]
    commands = {name: cli.app.get_command(group, name) for name in cli.app.list_commands(group)}
    lines += [f"| [`{name}`](#{name}) | {_cell(_first(one.help))} |" for name, one in commands.items()]
    for name, one in commands.items():
        context = click.Context(one, info_name=f"onnxplain {name}", **one.context_settings)
        usage = " ".join(one.collect_usage_pieces(context))
        lines += ["", f"## {name}", "", "```text", f"onnxplain {name} {usage}", "```", ""]
        lines += [plain(one.help or "").strip(), "", "| argument or option | meaning |", "|---|---|"]
        for parameter in one.params:
            record = parameter.get_help_record(context)
            if record is not None:
                lines.append(f"| `{_cell(record[0])}` | {_cell(record[1])} |")
        if one.epilog:
            title, *examples = [line.strip() for line in plain(one.epilog).splitlines() if line]
            lines += ["", title, "", "```bash", *examples, "```"]
    return "\n".join([*lines, ""])


def methods_page() -> str:
    """Every method with its options and their defaults."""
    lines = ["# Methods and their options", "", _WRITTEN, ""]
    lines += [
        "`explain(photo, method=NAME, OPTION=VALUE)`, or `onnxplain explain --method NAME --set OPTION=VALUE`. "
        "[The gallery](../gallery.md) shows each method, and says what it cannot tell.",
        "",
    ]
    for name in METHODS:
        tells = METHOD_TEXTS[name][0].split(". ")[0].rstrip(".")
        lines += [f"## {name}", "", f"Tells {tells}.", ""]
        options = fields(METHODS[name])
        if not options:
            lines += ["No options.", ""]
            continue
        lines += ["| option | type | default |", "|---|---|---|"]
        lines += [f"| `{one.name}` | `{_cell(str(one.type))}` | `{one.default!r}` |" for one in options]
        lines.append("")
    return "\n".join(lines)


def plain(text: str) -> str:
    """Help without what click leaves out, and without its marks."""
    return inspect.cleandoc(text.partition("\f")[0]).replace("\b", "")


def _first(text: str | None) -> str:
    return plain(text or "").split("\n\n")[0]


def _cell(text: str) -> str:
    return " ".join(plain(text).split()).replace("|", "\\|")


if __name__ == "__main__":
    for file, text in pages().items():
        FOLDER.joinpath(file).write_text(text, encoding="utf-8")
