"""Promises of deploy/constraints.txt: all that runs is pinned, by version and hash, and nothing else comes along."""

from __future__ import annotations

import re
import subprocess
import sys
from configparser import ConfigParser
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support import ROOT

PINNED = {
    *("aiohappyeyeballs", "aiohttp", "aiosignal", "attrs", "botocore", "certifi", "cffi", "charset-normalizer"),
    *("cryptography", "frozenlist", "idna", "jinja2", "jmespath", "jsonschema", "jsonschema-specifications"),
    *("markupsafe", "msgspec", "multidict", "propcache", "pycparser", "python-dateutil", "pyyaml", "referencing"),
    *("regex", "requests", "rpds-py", "six", "tiktoken", "typing-extensions", "urllib3", "uvloop", "yarl"),
}
"""All that may run beside us; one more is a decision."""
FILE = ROOT / "deploy/constraints.txt"


def pins() -> dict[str, tuple[Requirement, list[str]]]:
    """What is pinned, with its hashes."""
    found = {}
    for entry in re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", FILE.read_text("utf-8"))).splitlines():
        text, *hashes = entry.split(" --hash=")
        requirement = Requirement(text.strip())
        found[canonicalize_name(requirement.name)] = (requirement, [each.strip() for each in hashes])
    return found


def wanted() -> list[Requirement]:
    """What setup.cfg wants at run time, with the extras that are for it."""
    config = ConfigParser(comment_prefixes=("#",))
    config.read(ROOT / "setup.cfg", "utf-8")
    extras = config["options.extras_require"]
    lines = "\n".join([config["options"]["install_requires"], extras["aws"], extras["gcp"]]).splitlines()
    return [Requirement(line) for line in lines if line.strip()]


def test_each_is_one_version_with_its_hashes() -> None:
    """SHA-256 all."""
    for name, (requirement, hashes) in pins().items():
        assert [each.operator for each in requirement.specifier] == ["=="], name
        assert hashes, name
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", each) for each in hashes), name


def test_what_may_run_is_known() -> None:
    """A new dependency is seen here first."""
    assert set(pins()) == PINNED


def test_what_setup_cfg_wants_is_pinned_as_it_wants_it() -> None:
    """And what that wants in turn, as it is installed here."""
    pinned = pins()
    for each in wanted():
        (pin,) = pinned[canonicalize_name(each.name)][0].specifier
        assert pin.version in each.specifier, each
    for name, (requirement, _) in pinned.items():
        if requirement.marker is None or requirement.marker.evaluate():
            needs = [Requirement(line) for line in distribution(name).requires or ()]
            for need in needs:
                if need.marker is None or need.marker.evaluate({"extra": ""}):
                    assert canonicalize_name(need.name) in pinned, f"{name} needs {need}"


def test_none_of_them_runs_at_every_start_of_python() -> None:
    """A .pth file does, whoever is started."""
    for name, (requirement, _) in pins().items():
        if requirement.marker is None or requirement.marker.evaluate():
            files = distribution(name).files or ()
            assert not [file for file in files if file.suffix == ".pth" or file.name == "sitecustomize.py"], name


@pytest.mark.thorough
def test_they_install_by_their_hashes_and_oaiproxy_runs_with_them_alone(tmp_path: Path) -> None:
    """As the image does it."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    pip = [venv / "bin/python", "-m", "pip", "install", "--quiet", "--no-compile"]
    subprocess.run([*pip, "--only-binary", ":all:", "--require-hashes", "--requirement", FILE], check=True)
    code = "import sys; sys.path.insert(0, sys.argv[1]); from oaiproxy.cli import main; sys.exit(main(sys.argv[2:]))"
    check = [str(venv / "bin/python"), "-c", code, str(ROOT), "check", "--no-env", str(ROOT / "mappings")]
    done = subprocess.run(check, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
