"""What every generating endpoint reads from its request body in the same way: fields, model, stream and its options."""

from __future__ import annotations

from collections.abc import Mapping

from oaiproxy.jsontext import Json
from oaiproxy.parameters import Field, missing, no_object, read_fields


def read_body(body: Json, known: Mapping[str, Field]) -> tuple[dict[str, Json], dict[str, Json], str, bool, bool]:
    """The body as an object, its fields that were really sent, the model, and whether to stream and to tell usage.

    Raises ClientError that names the field at fault.
    """
    if not isinstance(body, dict):
        raise no_object(body)
    fields = read_fields(body, known)
    model = fields.get("model")
    if not model:
        raise missing("model")
    options = fields.get("stream_options") or {}
    return body, fields, model, fields.get("stream") is True, options.get("include_usage") is True
