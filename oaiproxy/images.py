"""Which of a request's images the proxy fetches, from where it may, and the request with their data in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from oaiproxy.addresses import PORTS
from oaiproxy.canonical import Call, Message
from oaiproxy.durations import compile_seconds
from oaiproxy.errors import ClientError
from oaiproxy.source import Source
from oaiproxy.templates import Compilation

LARGEST = 64 * 1024 * 1024
"""Bytes of an image that a mapping can allow at most."""

_HOST = re.compile(r"(?:(https?)://)?(\*|(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::(\d{1,5}))?")
_UNITS = {"": 1, "KiB": 1024, "MiB": 1024 * 1024}
_TRANSLATED = IPv6Network("64:ff9b::/96")
"""IPv6 addresses that stand for those of IPv4 (RFC 6052)."""
_SPECIAL = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "64:ff9b:1::/48")))
"""Addresses that not every Python knows not to be the Internet's (RFC 6890, RFC 7526, RFC 8215)."""
_KINDS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


@dataclass(frozen=True, slots=True)
class Host:
    """One of `allow_hosts`: `name` is a host, `*.suffix` or `*`."""

    scheme: str
    name: str
    port: int

    @property
    def named(self) -> bool:
        """Whether it is one host, written out."""
        return not self.name.startswith("*")

    def fits(self, scheme: str, host: str, port: int) -> bool:
        """Whether an address is one of these."""
        if (scheme, port) != (self.scheme, self.port):
            return False
        return self.name in ("*", host) or (self.name.startswith("*.") and host.endswith(self.name[1:]))


@dataclass(frozen=True, slots=True)
class Images:
    """An `images` block. `timeout` is in seconds, for each image; `most` counts the images of one request."""

    hosts: tuple[Host, ...]
    private: bool = False
    max_bytes: int = 5 * 1024 * 1024
    timeout: float = 10.0
    most: int = 8

    def admits(self, scheme: str, host: str, port: int) -> bool:
        """Whether an image may be fetched from there; the host in lower case, IPv6 without brackets."""
        return any(entry.fits(scheme, host, port) for entry in self.hosts)

    def admits_address(self, host: str, port: int, address: str) -> bool:
        """Whether a host's numeric address may be connected to: public ones, and any of a host named for that."""
        if self.private and any((entry.name, entry.port) == (host, port) for entry in self.hosts):
            return True
        try:
            return is_public(ip_address(address))
        except ValueError:
            return False


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is one of the Internet's, also where it stands for another one."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None or address in _TRANSLATED:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        inner = address.sixtofour or (address.teredo[1] if address.teredo else None)
        if address.is_site_local or (inner is not None and not is_public(inner)):
            return False
    special = address.is_multicast or address.is_reserved or address.is_unspecified
    return address.is_global and not special and not any(address in network for network in _SPECIAL)


def compile_images(source: Source | None, compilation: Compilation) -> Images | None:
    """Compile a block; what is wrong in it goes to the compilation's findings. None where nothing is fetched."""
    if source is None or not source.value["inline"]:
        return None
    given = source.value
    hosts = [host for child in source["allow_hosts"] if (host := _host(child, compilation)) is not None]
    private = given.get("allow_private", False)
    if private and not any(host.named for host in hosts):
        message = "`allow_private` has no effect: no host of `allow_hosts` is written out"
        compilation.report("E105", message, source["allow_private"].span(key=True), label="name the host itself")
    made = Images(tuple(hosts), private)
    if size := source.get("max_bytes"):
        made = replace(made, max_bytes=_size(size, compilation))
    timeout = compile_seconds(source.get("timeout"), compilation, made.timeout)
    return replace(made, timeout=timeout, most=given.get("max", made.most))


def wanted(call: Call, images: Images) -> dict[str, str]:
    """The URLs to fetch, each with the parameter that it is. Raises ClientError where there are too many.

    One that comes again counts again: it is fetched once, but its data are sent each time.
    """
    found: dict[str, str] = {}
    count = 0
    for index, message in enumerate(call.messages):
        for place, url in _urls(message):
            param = f"messages[{index}].content[{place}].image_url.url"
            found.setdefault(url, param)
            count += 1
            if count > images.most:
                raise ClientError(
                    f"At most {images.most} images by URL are supported.", param=param, code="invalid_image_url"
                )
    return found


def inlined(call: Call, data: Mapping[str, str]) -> Call:
    """The call with `data:` URLs in the place of those that were fetched; the given one is not changed."""
    return replace(call, messages=[_inlined(message, data) for message in call.messages])


def media_type(data: bytes, content_type: str) -> str | None:
    """What an image is: by its first bytes, else as it is called; None where it is none."""
    for mark, kind in _KINDS:
        if data.startswith(mark):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    named = content_type.partition(";")[0].strip().lower()
    return named if re.fullmatch(r"image/[a-z0-9.+-]+", named) else None


def _urls(message: Message) -> Iterator[tuple[int, str]]:
    content = message.get("content")
    for place, part in enumerate(content if isinstance(content, list) else ()):
        if part["type"] == "image_url" and not part["image_url"]["url"].startswith("data:"):
            yield place, part["image_url"]["url"]


def _inlined(message: Message, data: Mapping[str, str]) -> Message:
    places = dict(_urls(message))
    if not places:
        return message
    content = [
        {**part, "image_url": {**part["image_url"], "url": data[places[place]]}} if place in places else part
        for place, part in enumerate(message["content"])
    ]
    return {**message, "content": content}


def _host(source: Source, compilation: Compilation) -> Host | None:
    written: str = source.value
    text = written.lower()
    if not text.isascii():
        try:
            text = text.encode("idna").decode()
        except UnicodeError:
            text = ""
    found = _HOST.fullmatch(text)
    port = int(found[3] or 0) if found else 0
    if not found or port > 65535:
        label = "write `example.com`, `*.example.com`, `example.com:8443` or `http://example.com`"
        compilation.report("E105", f"`{written}` is not a host", source.span(), label=label)
        return None
    scheme = found[1] or "https"
    return Host(scheme, found[2].strip("[]"), port or PORTS[scheme])


def _size(source: Source, compilation: Compilation) -> int:
    """A number of bytes, or text such as `5MiB`."""
    found = re.fullmatch(r"(\d{1,9}) *(KiB|MiB|)", str(source.value))
    size = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < size <= LARGEST:
        message = f"`max_bytes` is not between 1 and {LARGEST // _UNITS['MiB']} MiB"
        compilation.report("E105", message, source.span(), label="write `5MiB`")
    return size
