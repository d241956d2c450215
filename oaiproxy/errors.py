"""The exceptions, by whose fault they are; those that reach a client know their status, type, code and param.

    OaiproxyError
    ├── MappingError      the operator's: a broken mapping or config; start-up and `check` only, never HTTP
    └── ApiError          becomes an HTTP answer
        ├── ClientError   the caller's: 4xx
        ├── BackendError  the backend's: 5xx, or the status it is mapped to
        └── ProxyError    ours: 500 and 503

The shape on the wire is OpenAI's: https://platform.openai.com/docs/guides/error-codes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from oaiproxy.diagnostics import Diagnostic
from oaiproxy.jsontext import Json


class OaiproxyError(Exception):
    """Everything this package raises on purpose."""


class MappingError(OaiproxyError):
    """A mapping or a configuration that cannot be used: what is wrong, and the texts it is in, by file."""

    def __init__(self, diagnostics: Sequence[Diagnostic], sources: Mapping[str, str] | None = None) -> None:
        super().__init__("; ".join(found.message for found in diagnostics))
        self.diagnostics = tuple(diagnostics)
        self.sources = dict(sources or {})


class ApiError(OaiproxyError):
    """An error that a client sees.

    `detail` is for the log alone. `retry_after` is in seconds. `retry` False tells clients not to try again (the
    failure is deterministic, or the work was already done and billed), True that they may.
    """

    status = 500
    type = "server_error"
    code: str | None = None

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        type: str | None = None,  # noqa: A002 - OpenAI's word
        code: str | None = None,
        param: str | None = None,
        detail: str = "",
        retry_after: float | None = None,
        retry: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status if status is not None else self.status
        self.type = type if type is not None else self.type
        self.code = code if code is not None else self.code
        self.param = param
        self.detail = detail
        self.retry_after = retry_after
        self.retry = retry

    def body(self) -> dict[str, Json]:
        """The OpenAI error object: all four keys, always."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


class ClientError(ApiError):
    """The caller sent something we cannot use."""

    status = 400
    type = "invalid_request_error"


class BackendError(ApiError):
    """The backend failed, or answered what the mapping does not describe."""

    status = 502
    type = "server_error"
    code = "upstream_error"


class ProxyError(ApiError):
    """oaiproxy itself could not do it: a mapping that does not render, overload, shutdown."""

    status = 500
    type = "server_error"
    code = "internal_error"


class OverloadedError(ProxyError):
    """More is asked of oaiproxy at once than its limits allow; a little later it may be otherwise."""

    status = 503
    type = "service_unavailable_error"
    code = "proxy_overloaded"

    def __init__(self, *, detail: str = "") -> None:
        message = "The proxy has too much to do now. Try again later."
        super().__init__(message, detail=detail, retry_after=1, retry=True)
