"""Promises of `oaiproxy.bundled`; how it works from a wheel is in test_packaging."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import oaiproxy
from oaiproxy.bundled import base_path, bundled, mapping_path, meant, shipped_mappings

SHOW = "from oaiproxy.bundled import bundled; print(bundled('mappings').joinpath('a.yaml').read_text())"


def _package(folder: Path) -> None:
    """A package with no more than the resolver in it."""
    source = Path(oaiproxy.__file__).parent
    folder.mkdir(parents=True)
    for name in ("__init__.py", "bundled.py"):
        shutil.copy(source / name, folder / name)


def _mapping(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "a.yaml").write_text("here", encoding="utf-8")


def _shown_from(path: Path, tmp_path: Path) -> str:
    code = f"import sys; sys.path.insert(0, {str(path)!r}); {SHOW}"
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    return run.stdout.strip()


def test_checkout_has_its_folders_beside_the_package() -> None:
    """This very tree finds its mappings and schemas."""
    assert bundled("mappings").is_dir()
    assert bundled("schemas").is_dir()


def test_folder_beside_the_package_is_found(tmp_path: Path) -> None:
    """A checkout, and with it an editable install, reads the folder beside the package."""
    _package(tmp_path / "tree" / "oaiproxy")
    _mapping(tmp_path / "tree" / "mappings")
    assert _shown_from(tmp_path / "tree", tmp_path) == "here"


def test_folder_inside_the_package_is_found(tmp_path: Path) -> None:
    """An installed wheel reads the folder inside the package, whatever lies beside it."""
    _package(tmp_path / "site" / "oaiproxy")
    _mapping(tmp_path / "site" / "oaiproxy" / "mappings")
    (tmp_path / "site" / "mappings").mkdir()
    assert _shown_from(tmp_path / "site", tmp_path) == "here"


def test_zip_is_read_in_place(tmp_path: Path) -> None:
    """A zip on the path is read with no unpacking."""
    _package(tmp_path / "site" / "oaiproxy")
    _mapping(tmp_path / "site" / "oaiproxy" / "mappings")
    archive = tmp_path / "oaiproxy.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for file in (tmp_path / "site").rglob("*.*"):
            packed.write(file, file.relative_to(tmp_path / "site"))
    assert _shown_from(archive, tmp_path) == "here"


def test_a_mapping_is_found_beside_before_among_the_shipped(tmp_path: Path) -> None:
    """A name with an ending is a path always; one without may be a file of the folder, else it is a shipped one."""
    shipped = Path(str(bundled("mappings").joinpath("example.yaml")))
    assert mapping_path("example", tmp_path) == shipped
    assert mapping_path("example.yaml", tmp_path) == tmp_path / "example.yaml"
    (tmp_path / "example").write_text("mine", encoding="utf-8")
    assert mapping_path("example", tmp_path) == tmp_path / "example"


def test_what_ships_is_listed() -> None:
    """By the names that a configuration can give."""
    assert "example" in shipped_mappings()
    assert shipped_mappings() == sorted(shipped_mappings())
    assert all(mapping_path(name, Path("/nowhere")).is_file() for name in shipped_mappings())


def test_a_base_is_a_name_or_a_path(tmp_path: Path) -> None:
    """A file of the same name beside the mapping does not change what a name means."""
    (tmp_path / "example").write_text("other")
    assert base_path("example", tmp_path) == mapping_path("example", Path("/nowhere"))
    for name in ("./example", "example.yaml", "example.yml", "in/example"):
        assert base_path(name, tmp_path) == tmp_path / name


def test_a_name_that_is_near_to_one_that_ships_is_told() -> None:
    """Else all of them are."""
    assert meant("exampel") == "did you mean `example`?"
    assert meant("zzz") == f"shipped mappings: {', '.join(shipped_mappings())}"
