"""The rules of the tree that import-linter cannot see."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "python" / "dispatch"
CORE_SOURCES = ROOT / "rust" / "src"
TESTED = [path for folder in ("tests", "benches") for path in sorted((ROOT / folder).rglob("*")) if path.suffix in {".py", ".rs"}]
"""Besides the sources: what is read as often."""
MOST_LINES = 40
"""Of a function, its signature and docstring included."""
MODULES = sorted(PACKAGE.rglob("*.py"))

MAY_IMPORT_CORE = {"routing", "wire", "transport", "server.supervisor", "simulate"}
"""Everyone else goes through these, so that the extension's face can change in few places."""

PURE = {"providers", "policy", "wire", "dialects"}
"""Bytes in, verdicts out: what is tested without a loop, and replayed from recordings."""

IMPURE_MODULES = {"asyncio", "anyio", "socket", "ssl", "time", "random", "uvloop", "aiohttp", "httptools", "logging"}
ALLOWED = {"providers.echo": {"time"}}  # it makes answers itself, and they carry the time they were made


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def is_under(name: str, folders: set[str]) -> bool:
    return any(name == folder or name.startswith(f"{folder}.") for folder in folders)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_few_modules_import_the_core(path: Path) -> None:
    if "dispatch._core" in imports_of(path):
        assert is_under(name_of(path), MAY_IMPORT_CORE)


@pytest.mark.parametrize("path", [path for path in MODULES if is_under(name_of(path), PURE)], ids=name_of)
def test_the_pure_floor_has_no_socket_no_clock_and_no_await(path: Path) -> None:
    tree = ast.parse(path.read_text())

    assert not {name.split(".")[0] for name in imports_of(path)} & IMPURE_MODULES - ALLOWED.get(name_of(path), set())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef | ast.Await)]


@pytest.mark.parametrize("path", [path for path in MODULES if path.name != "__init__.py"], ids=name_of)
def test_a_module_says_what_it_is_and_what_it_offers(path: Path) -> None:
    tree = ast.parse(path.read_text())
    names = {target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets if isinstance(target, ast.Name)}

    assert ast.get_docstring(tree)
    assert "__all__" in names or path.name == "__main__.py"


@pytest.mark.parametrize("path", [*MODULES, *sorted(CORE_SOURCES.rglob("*.rs")), *TESTED], ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_one_idea(path: Path) -> None:
    lines = path.read_text().count("\n")

    assert lines <= 400


DIALECTS = {f"dialects.{path.name}" for path in (PACKAGE / "dialects").iterdir() if path.is_dir()}
ADAPTERS = [path for path in MODULES if is_under(name_of(path), {"providers", *DIALECTS}) and path.name != "echo_answers.py"]
"""What translates for a provider. The answers that `echo` makes up are no translation."""
MOST_DATA = 5
"""Lines that tell a vendor of OpenAI's HTTP from others."""
ROWS = [path for path in sorted((PACKAGE / "providers").glob("*.py")) if "PROVIDER = OpenAILike(" in path.read_text()]


@pytest.mark.parametrize("path", ADAPTERS, ids=name_of)
def test_an_adapter_translates_and_does_nothing_else(path: Path) -> None:
    assert path.read_text().count("\n") <= 300


@pytest.mark.parametrize("path", ROWS, ids=name_of)
def test_a_vendor_of_openais_http_is_a_few_lines_of_data(path: Path) -> None:
    statements = [node for node in ast.parse(path.read_text()).body[1:] if not isinstance(node, ast.ImportFrom)]
    names = [ast.unparse(node.targets[0]) for node in statements if isinstance(node, ast.Assign)]
    provider = statements[-1]
    assert isinstance(provider, ast.Assign)
    assert isinstance(provider.value, ast.Call)
    row = provider.value

    assert names == ["__all__", "PROVIDER"]
    assert len(statements) == len(names)
    assert len(row.args) + len(row.keywords) <= MOST_DATA
    assert (row.end_lineno or 0) - row.lineno - 1 <= MOST_DATA


def test_most_vendors_are_rows() -> None:
    assert {"groq", "deepseek", "xai", "openrouter", "together", "fireworks", "perplexity", "cerebras", "huggingface"} <= {
        path.stem for path in ROWS
    }


FUNCTION = re.compile(r"(?P<indent> *)(?:pub(?:\([a-z]+\))? )?(?:const )?(?:unsafe )?fn (?P<name>\w+)")


def python_functions(text: str) -> dict[str, int]:
    """Names with their lines, and lengths."""
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {f"{node.name}:{node.lineno}": (node.end_lineno or 0) - node.lineno + 1 for node in nodes}


def rust_functions(text: str) -> dict[str, int]:
    """The same of formatted Rust: a body ends with a brace as far left as its function begins."""
    lines = text.splitlines()
    heads = [(at, head) for at, line in enumerate(lines) if (head := FUNCTION.match(line))]
    return {f"{head['name']}:{at + 1}": end_of(lines, at, head["indent"]) - at + 1 for at, head in heads}


def end_of(lines: list[str], at: int, indent: str) -> int:
    is_open = False
    for place, line in enumerate(lines[at:], at):
        is_open = is_open or line.endswith("{")
        # A declaration in a trait, or a body in the line of its head.
        if line == indent + "}" or (not is_open and line.endswith((";", "}"))):
            return place
    raise AssertionError(f"line {at + 1} begins a function without end")


@pytest.mark.parametrize("path", [*MODULES, *sorted(CORE_SOURCES.rglob("*.rs")), *TESTED], ids=lambda path: str(path.relative_to(ROOT)))
def test_a_function_is_seen_at_once(path: Path) -> None:
    functions = (python_functions if path.suffix == ".py" else rust_functions)(path.read_text())

    assert not {name: lines for name, lines in functions.items() if lines > MOST_LINES}


def test_lengths_of_rust_functions_are_those_that_are_seen() -> None:
    pieces = ["fn a() {}", "", "pub(super) const fn b(", "    x: u8,", ") -> u8 {", "    if x {", "    }", "}"]
    text = "\n".join([*pieces, "trait T {", "    fn c(&self);", "    fn d() {", "    }", "}", ""])

    assert rust_functions(text) == {"a:1": 1, "b:3": 6, "c:10": 1, "d:11": 2}
