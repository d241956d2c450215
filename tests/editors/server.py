"""A language server as editors run one: a process that is spoken to in JSON-RPC over its standard streams.

https://microsoft.github.io/language-server-protocol/specifications/lsp/3.17/specification/
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Self

PATIENCE = 60
"""Seconds for any answer."""
_SETTINGS = {
    "yaml": {"validate": True, "hover": True, "completion": True, "schemaStore": {"enable": False}},
}
_CAPABILITIES = {
    "textDocument": {
        "completion": {"completionItem": {"snippetSupport": True, "documentationFormat": ["markdown"]}},
        "hover": {"contentFormat": ["markdown"]},
        "publishDiagnostics": {},
    },
    "workspace": {"configuration": True},
}


class LanguageServer:
    """Speaks to one server; the block's end ends it."""

    def __init__(self, *command: str) -> None:
        self._command = command
        self._ids = 0
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._diagnostics: dict[str, asyncio.Future[list[Any]]] = {}

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        self._reading = asyncio.create_task(self._read())
        await self.ask("initialize", {"processId": None, "rootUri": None, "capabilities": _CAPABILITIES})
        await self._tell("initialized", {})
        await self._tell("workspace/didChangeConfiguration", {"settings": _SETTINGS})
        return self

    async def __aexit__(self, *_: object) -> None:
        self._process.kill()
        await self._process.wait()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def open(self, path: Path, text: str) -> list[Any]:
        """Open a file, which need not be there; what is found wrong in it."""
        uri = path.as_uri()
        found = self._diagnostics[uri] = asyncio.get_running_loop().create_future()
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        await self._tell("textDocument/didOpen", {"textDocument": document})
        async with asyncio.timeout(PATIENCE):
            return await found

    async def at(self, method: str, path: Path, line: int, character: int) -> Any:
        """Ask about a place of an open file; both numbers count from 0."""
        place = {"line": line, "character": character}
        return await self.ask(f"textDocument/{method}", {"textDocument": {"uri": path.as_uri()}, "position": place})

    async def ask(self, method: str, params: Any) -> Any:
        """The result of a request."""
        self._ids += 1
        answer = self._answers[self._ids] = asyncio.get_running_loop().create_future()
        await self._send({"id": self._ids, "method": method, "params": params})
        async with asyncio.timeout(PATIENCE):
            return await answer

    async def _tell(self, method: str, params: Any) -> None:
        await self._send({"method": method, "params": params})

    async def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        await self._process.stdin.drain()

    async def _read(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        while header := await stream.readuntil(b"\r\n\r\n"):
            (length,) = (line.partition(b":")[2] for line in header.splitlines() if line.startswith(b"Content-Length"))
            message = json.loads(await stream.readexactly(int(length)))
            if "method" in message:
                await self._asked(message)
            else:
                answer = self._answers.pop(message["id"])
                if "error" in message:
                    answer.set_exception(AssertionError(message["error"]))
                else:
                    answer.set_result(message["result"])

    async def _asked(self, message: dict[str, Any]) -> None:
        """Answer the server's own requests, and keep what it tells of files."""
        params = message.get("params")
        if message["method"] == "textDocument/publishDiagnostics":
            found = self._diagnostics.get(params["uri"])
            if found and not found.done():
                found.set_result(params["diagnostics"])
        elif "id" in message:
            items = params.get("items", []) if isinstance(params, dict) else []
            result = [_SETTINGS.get(item.get("section")) for item in items] if items else None
            await self._send({"id": message["id"], "result": result})
