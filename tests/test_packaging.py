"""Promises of the packaging: the wheel, the image (whose steps are repeated here) and the sidecar.

Nothing is fetched: what oaiproxy depends on is lent from the environment that runs the tests.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import zipfile
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import free_ports
from scripted import PATIENCE

import oaiproxy

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.xdist_group("packaging")  # what is built is built once
LITTER = shutil.ignore_patterns(
    ".git", ".venv*", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis"
)
SHOW = """
import asyncio, json, oaiproxy
from importlib.resources import files
from oaiproxy.bundled import bundled
from oaiproxy.tokens import Tokenizer
tokenizer = Tokenizer()
print(json.dumps({
    "file": oaiproxy.__file__,
    "version": oaiproxy.__version__,
    "mapping": bundled("mappings").joinpath("example.yaml").is_file(),
    "schema": bundled("schemas").joinpath("mapping.schema.json").is_file(),
    "prompt": bundled("prompts").joinpath("chatml.jinja").is_file(),
    "typed": files("oaiproxy").joinpath("py.typed").is_file(),
    "tokens": [asyncio.run(tokenizer.count(["hello world"], name)) for name in ("cl100k_base", "o200k_base")],
}))
tokenizer.close()
"""


def _run(*command: str | Path, **options: Any) -> str:
    """Run a command with nothing of this process's Python settings; on failure, show what it said."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}
    env |= options.pop("env", {})
    run = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=env, check=False, **options)
    assert run.returncode == 0, f"{command} exited with {run.returncode}:\n{run.stdout}\n{run.stderr}"
    return run.stdout


def _lend_dependencies(venv: Path) -> None:
    """Let an environment see what is installed here. As plain path entries, so that no editable install comes along."""
    (site,) = venv.glob("lib/python*/site-packages")
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "lent.pth").write_text("\n".join(sorted(paths)), encoding="utf-8")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source tree, since building leaves files in it."""
    return Path(shutil.copytree(ROOT, tmp_path_factory.mktemp("tree") / "oaiproxy", ignore=LITTER))


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution, which is thereby shown to be whole."""
    folder = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, tree)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment into which the wheel is installed."""
    venv = tmp_path_factory.mktemp("venv")
    _run(sys.executable, "-m", "venv", "--without-pip", venv)
    pip = (sys.executable, "-m", "pip", "--python", venv / "bin" / "python", "--disable-pip-version-check")
    _run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel)
    _lend_dependencies(venv)
    return venv


def test_wheel_holds_what_it_needs(installed: Path, tmp_path: Path) -> None:
    """From a wheel alone, the version, the mappings, the schemas, the type marker and both vocabularies are there."""
    shown = json.loads(_run(installed / "bin" / "python", "-c", SHOW, cwd=tmp_path))
    assert Path(shown.pop("file")).is_relative_to(installed)
    assert shown == {
        "version": oaiproxy.__version__,
        "mapping": True,
        "schema": True,
        "prompt": True,
        "typed": True,
        "tokens": [[2], [2]],
    }


def test_wheel_holds_all_that_ships_and_nothing_else(wheel: Path) -> None:
    """Every module, mapping, schema and rank is in the wheel; no test and no cache is."""
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {str(path.relative_to(ROOT)) for path in (ROOT / "oaiproxy").rglob("*.py")}
    expected |= {f"oaiproxy/{path.relative_to(ROOT)}" for path in (ROOT / "mappings").glob("*.yaml")}
    expected |= {f"oaiproxy/{path.relative_to(ROOT)}" for path in (ROOT / "schemas").glob("*.json")}
    expected |= {str(path.relative_to(ROOT)) for path in (ROOT / "oaiproxy" / "ranks").iterdir()}
    expected |= {str(path.relative_to(ROOT)) for path in (ROOT / "oaiproxy" / "prompts").iterdir()}
    assert packed == expected | {"oaiproxy/py.typed"}


def test_command_is_installed(installed: Path, tmp_path: Path) -> None:
    """`oaiproxy --version` and `python -m oaiproxy --version` work from a wheel."""
    for command in ([installed / "bin" / "oaiproxy"], [installed / "bin" / "python", "-m", "oaiproxy"]):
        assert oaiproxy.__version__ in _run(*command, "--version", cwd=tmp_path)


# ---- the image


def _instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions as (name, rest), comments dropped and lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", text)).splitlines()
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines if line.strip())]


def _words(name: str) -> list[str]:
    """The JSON array of an instruction that is given as one."""
    (rest,) = (rest for instruction, rest in _instructions() if instruction == name)
    return list(json.loads(rest[rest.index("[") :]))


def _is_sent(path: str) -> bool:
    """Whether `.dockerignore` lets a path of the tree through to the builder; the last line that fits decides."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    fitting = [line for line in lines if fnmatch(path, line.removeprefix("!").removeprefix("**/"))]
    return not fitting or fitting[-1].startswith("!")


def _copy(sources: list[Path], target: Path) -> None:
    for source in sources:
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


@pytest.fixture(scope="module")
def image(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a file system in which each COPY and RUN of the Dockerfile was repeated, with no network."""
    root = tmp_path_factory.mktemp("image")
    workdir = root
    for name, rest in _instructions():
        if name == "WORKDIR":
            workdir = root / rest.lstrip("/")
        elif name == "COPY" and not rest.startswith("--from"):
            *sources, target = rest.split()
            place = workdir / target if not target.startswith("/") else root / target.lstrip("/")
            if place.suffix and len(sources) == 1:
                place = place.parent
            _copy([tree / source for source in sources], place)
        elif (
            name == "RUN" and "--require-hashes" not in rest
        ):  # what that fetches is lent; test_constraints.py tries it
            command = re.sub(r"(?<!\S)/(?=(src|dist|opt)\b)", f"{root}/", rest)
            command = re.sub(r"^python ", f"{shlex.quote(sys.executable)} ", command)
            # pip reads the last one the wrong way round: 0 is "no isolation".
            offline = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0"}
            _run("sh", "-c", command, env=offline, cwd=workdir)
    _lend_dependencies(root / "opt" / "oaiproxy")
    return root


def test_image_copies_what_is_there() -> None:
    """What the image copies is in the tree, and .dockerignore lets it through; nothing else is sent."""
    copies = [rest.split() for name, rest in _instructions() if name == "COPY" and not rest.startswith("--from")]
    sources = {source for *sources, _ in copies for source in sources}
    assert all((ROOT / source).exists() for source in sources)
    assert {path.name for path in ROOT.iterdir() if _is_sent(path.name)} == {Path(each).parts[0] for each in sources}


def test_image_runs_as_nobody() -> None:
    """The image's user is a number, so that Kubernetes can tell that it is not root."""
    users = [rest for name, rest in _instructions() if name == "USER"]
    assert users == ["65532:65532"]


def test_image_is_compiled_and_has_no_pip(image: Path) -> None:
    """The process writes no bytecode and finds it all the same; no package manager comes along."""
    (package,) = (image / "opt" / "oaiproxy").glob("lib/python*/site-packages/oaiproxy")
    compiled = {path.name.split(".")[0] for path in (package / "__pycache__").iterdir()}
    assert compiled == {path.stem for path in package.glob("*.py")}
    assert not (package.parent / "pip").exists()


def test_image_serves(image: Path) -> None:
    """The image's own command starts with the configuration inside, becomes healthy and stops when told to."""
    port = str(free_ports(1)[0])
    bin_ = image / "opt" / "oaiproxy" / "bin"
    command = [str(bin_ / word) for word in _words("ENTRYPOINT")]
    for word in _words("CMD"):
        command.append({"0.0.0.0": "127.0.0.1", "8000": port}.get(word, word.replace("/etc/", f"{image}/etc/")))
    with subprocess.Popen(command, cwd=image / "etc" / "oaiproxy", stderr=subprocess.PIPE, text=True) as server:
        try:
            _wait_until_healthy(
                [str(bin_ / "oaiproxy"), "healthcheck", "--url", f"http://127.0.0.1:{port}/readyz"], server
            )
        finally:
            server.send_signal(signal.SIGTERM)
            _, said = server.communicate(timeout=60)
        assert server.returncode == 0, said


def _wait_until_healthy(check: list[str], server: subprocess.Popen[str]) -> None:
    for _ in range(100):
        assert server.poll() is None, "the server ended"
        if subprocess.run(check, capture_output=True, timeout=PATIENCE, check=False).returncode == 0:
            return
    pytest.fail("the server did not become healthy")


# ---- the sidecar


@pytest.fixture(scope="module")
def pod() -> dict[str, Any]:
    """The pod of deploy/sidecar.yaml."""
    return dict(_documents()["Deployment"]["spec"]["template"]["spec"])


def _documents() -> dict[str, Any]:
    text = (ROOT / "deploy" / "sidecar.yaml").read_text(encoding="utf-8")
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def test_sidecar_outlives_the_application(pod: dict[str, Any]) -> None:
    """The proxy is an init container that keeps running, and has time to let streams finish (25 s) at the end."""
    (sidecar,) = pod["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    assert pod["terminationGracePeriodSeconds"] >= 35


def test_sidecar_is_reached_by_the_application_alone(pod: dict[str, Any]) -> None:
    """The proxy listens on the pod's loopback, the application is pointed there, and probes run inside."""
    (sidecar,) = pod["initContainers"]
    (application,) = pod["containers"]
    assert sidecar["args"][:1] == ["serve"]
    assert sidecar["args"][sidecar["args"].index("--host") + 1] == "127.0.0.1"
    assert {"name": "OPENAI_BASE_URL", "value": "http://127.0.0.1:8000/v1"} in application["env"]
    probes = {name: sidecar[name]["exec"]["command"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert all(command[:2] == ["oaiproxy", "healthcheck"] for command in probes.values())
    assert probes["livenessProbe"][-1].endswith("/livez")


def test_sidecar_is_hardened(pod: dict[str, Any]) -> None:
    """The proxy has no rights, a read-only root, no token of the cluster and no key in its environment."""
    (sidecar,) = pod["initContainers"]
    assert sidecar["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsGroup": 65532,
        "runAsNonRoot": True,
        "runAsUser": 65532,
    }
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert not [entry for entry in sidecar["env"] if "valueFrom" in entry or "KEY" in entry["name"]]
    assert sidecar["resources"]["limits"]["memory"]


def test_sidecar_volumes_fit(pod: dict[str, Any]) -> None:
    """Every mounted volume exists, and every file of the configuration comes from the config map."""
    (sidecar,) = pod["initContainers"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert {mount["name"] for mount in sidecar["volumeMounts"]} == set(volumes)
    data = _documents()["ConfigMap"]["data"]
    items = volumes["oaiproxy-config"]["configMap"]["items"]
    assert {item["key"] for item in items} == set(data)
    assert set(yaml.safe_load(data["config.yaml"])["mappings"]) < {item["path"] for item in items}


def test_sidecar_configuration_is_valid(pod: dict[str, Any], installed: Path, tmp_path: Path) -> None:
    """`oaiproxy check` finds nothing wrong with the mapping of the config map."""
    data = _documents()["ConfigMap"]["data"]
    (tmp_path / "api-key").write_text("a key", encoding="utf-8")
    mapping = data["backend.yaml"].replace("/run/secrets/oaiproxy", str(tmp_path))
    (tmp_path / "backend.yaml").write_text(mapping, encoding="utf-8")
    (sidecar,) = pod["initContainers"]
    env = {entry["name"]: entry["value"] for entry in sidecar["env"]}
    _run(installed / "bin" / "oaiproxy", "check", tmp_path / "backend.yaml", env=env, cwd=tmp_path)
