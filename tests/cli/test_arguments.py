"""Promises of the arguments that commands share."""

import argparse

import pytest

from oaiproxy.cli.arguments import add_mapping, host, port


def test_a_mapping_is_required() -> None:
    """By its place, without an option."""
    command = argparse.ArgumentParser(exit_on_error=False)
    add_mapping(command)
    assert command.parse_args(["mine.yaml"]).mapping == "mine.yaml"
    with pytest.raises((SystemExit, argparse.ArgumentError)):
        command.parse_args([])


def test_an_empty_address_is_refused() -> None:
    """Sockets would take it for all addresses."""
    assert host("::1") == "::1"
    with pytest.raises(argparse.ArgumentTypeError, match="the address is empty"):
        host("")


@pytest.mark.parametrize("text", ["", "-1", "65536", "٣", "1.0", "http"])
def test_what_is_no_port_is_refused(text: str) -> None:
    """0 is any free one."""
    assert port("0") == 0
    with pytest.raises(argparse.ArgumentTypeError, match="is not a port"):
        port(text)
