"""Signed requests on a real socket: what the shipped mapping says of signing holds, and the service would accept it."""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path
from typing import Any

import pytest
from scripted import FIN, REQUEST, Backend, Request, answer, fetch, hello
from support import ROOT

from oaiproxy.frame_writers import write_events
from oaiproxy.framing import Frame
from oaiproxy.loader import Loader

MAPPING = ROOT / "mappings/bedrock-converse.yaml"
ENVIRONMENT = {
    "AWS_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "AWS_SESSION_TOKEN": "a-session",
}
WHOLE = {"output": {"message": {"role": "assistant", "content": [{"text": "Rome."}]}}, "stopReason": "end_turn"}
STREAM = b"".join(
    write_events(
        [
            Frame(b'{"contentBlockIndex":0,"delta":{"text":"Rome."}}', "contentBlockDelta"),
            Frame(b'{"stopReason":"end_turn"}', "messageStop"),
            Frame(b'{"usage":{"inputTokens":1,"outputTokens":1}}', "metadata"),
        ]
    )
)


def advised() -> str:
    """What the mapping's head says to lay over it to sign, as YAML."""
    head = MAPPING.read_text().partition("oaiproxy: 1")[0]
    lines = [line.removeprefix("#   ") for line in head.splitlines() if line.startswith("#   ")]
    return "\n".join(lines[: next(at for at, line in enumerate(lines) if line.startswith("chat:"))])


def signature(request: Request, path: str) -> str:
    """The signature that AWS would make of what came, with this path, by Signature Version 4 as documented."""
    authorization = request.header("authorization") or ""
    names = re.findall("SignedHeaders=([^,]+)", authorization)[0]
    lines = "".join(f"{name}:{request.header(name)}\n" for name in names.split(";"))
    digest = hashlib.sha256(request.body).hexdigest()
    canonical = f"POST\n{path}\n\n{lines}\n{names}\n{digest}"
    moment = request.header("x-amz-date") or ""
    scope = f"{moment[:8]}/eu-west-1/bedrock/aws4_request"
    told = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{ENVIRONMENT['AWS_SECRET_ACCESS_KEY']}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    credential = f"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope}"
    return f"{credential}, SignedHeaders={names}, Signature={hmac.digest(key, told.encode(), 'sha256').hex()}"


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
async def test_a_colon_in_the_path_is_encoded_once_and_signed_twice(proxy: Any, tmp_path: Path, streams: bool) -> None:
    """`%3A` is on the wire, `%253A` in what is signed; body, host, date and the session's token are signed too."""
    pytest.importorskip("botocore", reason="the extra `aws` is not installed")
    data, kind = (STREAM, "application/vnd.amazon.eventstream") if streams else (WHOLE, "application/json")
    headers = {"Content-Type": kind, "Connection": "close"}
    async with Backend([REQUEST, answer(data, headers=headers), FIN]) as backend:
        path = tmp_path / "signed.yaml"
        url = f"  url: {backend.url}\n"
        laid = advised().replace("backend: {auth:", f"backend:\n{url}  auth:").removesuffix("}")
        path.write_text(f"oaiproxy: 1\nextends: bedrock-converse\n{laid}\n")
        ((mapping, _),) = Loader(ENVIRONMENT).load([("signed", path)])[0]
        running = await proxy(mapping)
        wire = await fetch(running.url, hello(model="nova-micro", stream=streams))
        (request,) = backend.requests
    assert wire.status == 200
    verb = "converse-stream" if streams else "converse"
    assert request.line == f"POST /model/us.amazon.nova-micro-v1%3A0/{verb} HTTP/1.1"
    signed = set(re.findall("SignedHeaders=([^,]+)", request.header("authorization") or "")[0].split(";"))
    assert signed >= {"host", "x-amz-date", "x-amz-security-token"}
    assert request.header("authorization") == signature(request, f"/model/us.amazon.nova-micro-v1%253A0/{verb}")
