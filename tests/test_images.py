"""Promises of the images that are fetched: from where they may come, and what becomes of the request."""

from __future__ import annotations

import copy
from ipaddress import ip_address
from typing import Any

import pytest
from support import findings_of, load

from oaiproxy.canonical import Call, Identity, Names
from oaiproxy.errors import ClientError
from oaiproxy.images import Host, Images, inlined, is_public, media_type, wanted

PRIVATE = [
    *("0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.8.9.1", "169.254.169.254", "172.16.0.1", "192.0.0.8"),
    *("192.0.2.1", "192.168.1.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1"),
    *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "fe80::1", "fe80::1%1", "fc00::1", "fec0::1"),
    *("ff02::1", "2002:7f00:1::", "2002:a00:1::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1"),
    *("2001:db8::1", "2001:0:0:0:0:0:80ff:fffe", "100::1"),
]
PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


def mapping(images: str) -> str:
    return (
        "oaiproxy: 1\nmodels: [m]\nbackend: {url: 'https://b.test'}\nchat:\n"
        f"  images: {images}\n  request: {{path: /g, body: {{p: '{{{{ messages }}}}'}}}}\n  response: {{text: t}}\n"
    )


def compiled(images: str) -> Images | None:
    return load(mapping(images)).endpoints["chat"].images


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, "detail": "low"}}


def call(*contents: Any) -> Call:
    messages = [{"role": "user", "content": content} for content in contents]
    return Call("chat", "m", False, False, messages, {})


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_the_internets_are_refused(address: str) -> None:
    """In whatever form they come."""
    assert not is_public(ip_address(address))
    assert not Images((Host("https", "*", 443),), private=True).admits_address("example.com", 443, address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_not(address: str) -> None:
    """Of both versions."""
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "", "host"])
def test_what_is_no_address_is_refused(address: str) -> None:
    """Other spellings of one too."""
    assert not Images(()).admits_address("host", 443, address)


def test_a_host_that_is_written_out_may_be_private() -> None:
    """If the mapping says so, and no other host."""
    images = compiled("{inline: true, allow_hosts: [in.test, '*.b.test'], allow_private: true}")
    assert images is not None
    assert images.admits_address("in.test", 443, "10.0.0.1")
    assert not images.admits_address("in.test", 22, "10.0.0.1")
    assert not images.admits_address("a.b.test", 443, "10.0.0.1")
    plain = compiled("{inline: true, allow_hosts: [in.test]}")
    assert plain is not None
    assert not plain.admits_address("in.test", 443, "10.0.0.1")


@pytest.mark.parametrize(
    ("entry", "address", "admitted"),
    [
        ("a.test", ("https", "a.test", 443), True),
        ("A.Test", ("https", "a.test", 443), True),
        ("a.test", ("http", "a.test", 80), False),
        ("a.test", ("https", "b.a.test", 443), False),
        ("a.test", ("https", "a.test", 8443), False),
        ("a.test:8443", ("https", "a.test", 8443), True),
        ("http://a.test", ("http", "a.test", 80), True),
        ("http://a.test", ("https", "a.test", 443), False),
        ("*.a.test", ("https", "b.a.test", 443), True),
        ("*.a.test", ("https", "a.test", 443), False),
        ("*.a.test", ("https", "xa.test", 443), False),
        ("*", ("https", "a.test", 443), True),
        ("*", ("https", "a.test", 22), False),
        ("http://[::1]:80", ("http", "::1", 80), True),
        ("bücher.test", ("https", "xn--bcher-kva.test", 443), True),
    ],
)
def test_hosts_fit_as_they_are_written(entry: str, address: tuple[str, str, int], admitted: bool) -> None:
    """By scheme, name and port."""
    images = compiled(f"{{inline: true, allow_hosts: ['{entry}']}}")
    assert images is not None
    assert images.admits(*address) is admitted


def test_an_images_block_is_read() -> None:
    """With its defaults, in the units that it is written in."""
    images = compiled("{inline: true, allow_hosts: [a.test], max_bytes: 2 KiB, timeout: 500ms, max: 3}")
    assert images == Images((Host("https", "a.test", 443),), False, 2048, 0.5, 3)
    assert compiled("{inline: true, allow_hosts: [a.test], max_bytes: 77}") == Images(
        (Host("https", "a.test", 443),), max_bytes=77
    )
    assert compiled("{inline: false, allow_hosts: [a.test]}") is None


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ("{inline: true, allow_hosts: ['https://a.test/path']}", "is not a host"),
        ("{inline: true, allow_hosts: ['a b']}", "is not a host"),
        ("{inline: true, allow_hosts: ['a.*.test']}", "is not a host"),
        ("{inline: true, allow_hosts: ['a.test:99999']}", "is not a host"),
        ("{inline: true, allow_hosts: ['*'], allow_private: true}", "`allow_private` has no effect"),
        ("{inline: true, allow_hosts: ['a'], max_bytes: 65MiB}", "`max_bytes` is not between"),
        ("{inline: true, allow_hosts: ['a'], max_bytes: 0KiB}", "`max_bytes` is not between"),
        ("{inline: true}", "missing key `allow_hosts`"),
        ("{inline: true, allow_hosts: []}", "allow_hosts"),
    ],
)
def test_what_is_wrong_with_a_block_is_told(images: str, words: str) -> None:
    """Before any request comes."""
    made, found = findings_of(mapping(images))
    assert made is None
    assert [words in each.message for each in found] == [True]


def test_each_url_is_wanted_once() -> None:
    """With the parameter that it first is; text and `data:` URLs are not wanted."""
    text = {"type": "text", "text": "http://a.test/no"}
    given = call(
        "text",
        [image("https://a/1"), text, image("data:image/png;base64,aa")],
        [image("https://b/2"), image("https://a/1")],
    )
    assert wanted(given, Images(())) == {
        "https://a/1": "messages[1].content[0].image_url.url",
        "https://b/2": "messages[2].content[0].image_url.url",
    }


def test_too_many_are_refused() -> None:
    """The first that is too much is named; one that comes again counts again, for its data are sent again."""
    given = call([image("https://a/1"), image("https://a/1"), image("https://a/2")], [image("https://a/3")])
    assert len(wanted(given, Images((), most=4))) == 3
    with pytest.raises(ClientError) as caught:
        wanted(given, Images((), most=3))
    error = caught.value
    assert (error.status, error.code, error.param) == (400, "invalid_image_url", "messages[1].content[0].image_url.url")


def test_data_takes_the_place_of_urls() -> None:
    """Templates see `base64` then; the call that was given is not changed."""
    given = call([image("https://a/1"), {"type": "text", "text": "x"}], "text")
    before = copy.deepcopy(given)
    made = inlined(given, {"https://a/1": "data:image/gif;base64,R0lG"})
    assert given == before
    assert made.messages[1] is given.messages[1]
    names = Names(made, Identity("r", "t", "u", 0.0), model="m", stream=False)
    part = names.lookup("messages")[0]["parts"][0]
    assert (part["base64"], part["media_type"], part["detail"]) == ("R0lG", "image/gif", "low")


@pytest.mark.parametrize(
    ("data", "content_type", "kind"),
    [
        (b"\x89PNG\r\n\x1a\nx", "text/html", "image/png"),
        (b"\xff\xd8\xff\xe0", "", "image/jpeg"),
        (b"GIF89a", "image/png", "image/gif"),
        (b"GIF87a", "", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "", "image/webp"),
        (b"<svg", "image/svg+xml; charset=utf-8", "image/svg+xml"),
        (b"<html", "text/html", None),
        (b"x", "image/", None),
        (b"x", "image/png,evil", None),
        (b"", "", None),
    ],
)
def test_an_image_is_known_by_its_first_bytes(data: bytes, content_type: str, kind: str | None) -> None:
    """Else by what it is said to be."""
    assert media_type(data, content_type) == kind
