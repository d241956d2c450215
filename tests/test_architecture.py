"""Promises of the whole tree: its floors, its style, a test file for each module, and no backend named in code."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from oaiproxy.cli import COMMANDS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "oaiproxy"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)
LARGEST = 500
"""Lines of a module."""
UNTESTED = {"__init__.py", "__main__.py"}
TOP_LEVEL = (
    *("oaiproxy", "mappings", "schemas", "tests", "docs", "deploy", "benchmarks", "fuzz"),
    *("config.yaml", "setup.cfg", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "Dockerfile"),
    *("run.sh", "test.sh", ".ci/run", "deploy/sidecar.yaml", "oaiproxy/py.typed"),
)
GENERIC = {"example", "openai-compatible"}
"""Mappings that are not named after a backend."""
BACKENDS = {
    *("anthropic", "claude", "gemini", "vertex", "bedrock", "cohere", "ollama"),
    *("tgi", "llamacpp", "koboldcpp", "triton", "replicate", "watsonx", "cloudflare"),
    *("dashscope", "qwen", "yandex", "dify", "mistral", "huggingface"),
}


def run(*command: str) -> None:
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def backends() -> set[str]:
    """The words that name a backend, those of shipped mappings among them."""
    shipped = {path.stem for path in (ROOT / "mappings").glob("*.yaml")} - GENERIC
    return BACKENDS | {stem.partition("-")[0] for stem in shipped}


def words(path: Path) -> Iterator[tuple[int, str]]:
    """The identifiers and strings of a module, less its docstrings, each with its line."""
    tree = ast.parse(path.read_text())
    # A string that is a statement of its own is a docstring: of a module, class, function or value.
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) and id(node) not in documentation:
            yield line, node.value if isinstance(node.value, str) else node.value.decode("latin-1")
        for field in ("id", "attr", "arg", "name", "asname", "module"):
            value = getattr(node, field, None)
            if isinstance(value, str):
                yield line, value


def test_a_module_imports_only_from_the_floors_below() -> None:
    """The floors are in setup.cfg, and every module is on one of them; what is below the shell is pure."""
    run("-c", "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))")


def test_the_types_are_strictly_right() -> None:
    """mypy --strict, as setup.cfg says."""
    run("-m", "mypy")


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_the_style_is_ruffs(command: list[str]) -> None:
    """Its rules are in pyproject.toml."""
    run("-m", "ruff", *command, "--quiet", ".")


@pytest.mark.parametrize("path", [path for path in MODULES if path.name not in UNTESTED], ids=name)
def test_every_module_has_its_tests(path: Path) -> None:
    """oaiproxy/x.py has tests/test_x.py, oaiproxy/y/x.py has tests/y/test_x.py."""
    inside = path.relative_to(PACKAGE)
    assert (ROOT / "tests" / inside.parent / f"test_{inside.name}").is_file()


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_module_is_too_long(path: Path) -> None:
    """One responsibility fits in fewer lines."""
    assert lines(path) <= LARGEST


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_every_module_says_what_it_is_in_one_sentence(path: Path) -> None:
    """The first line of its docstring, which ends there."""
    documentation = ast.get_docstring(ast.parse(path.read_text()))
    assert documentation
    assert documentation.split("\n\n")[0].rstrip().endswith((".", ":"))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_backend_is_named_in_code(path: Path) -> None:
    """Any API, purely in YAML: what is special about one is in its mapping."""
    named = re.compile(rf"(?<![a-z])({'|'.join(sorted(backends()))})(?![a-z])", re.IGNORECASE)
    found = [(line, word) for line, word in words(path) if named.search(word.replace("_", " "))]
    assert not found


def test_the_top_level_is_complete() -> None:
    """What a user looks for in a checkout."""
    assert [each for each in TOP_LEVEL if not (ROOT / each).exists()] == []


def test_the_readme_names_every_key_of_a_mapping() -> None:
    """Those of the top level."""
    schema = json.loads((ROOT / "schemas/mapping.schema.json").read_text())
    readme = (ROOT / "README.md").read_text()
    assert [key for key in schema["properties"] if not re.search(rf"\b{key}\b", readme)] == []


def test_the_readme_names_every_command() -> None:
    """As a user types it."""
    readme = (ROOT / "README.md").read_text()
    assert [each for each in COMMANDS if f"oaiproxy {each}" not in readme] == []
