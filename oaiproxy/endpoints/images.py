"""`POST /v1/images/generations`: a prompt to calls, images to URLs or base64.

https://platform.openai.com/docs/api-reference/images
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from oaiproxy.canonical import Call, Identity
from oaiproxy.endpoints.answering import ObjectEncoder, read_call
from oaiproxy.endpoints.encoding import Encoder
from oaiproxy.errors import BackendError
from oaiproxy.events import Usage
from oaiproxy.jsontext import Json

ENDPOINT = "images"
DEFAULT_MODEL = "dall-e-2"
"""The model of a request that names none, as OpenAI has it."""


def parse(body: Json) -> Call:
    """A request as a call."""
    call = read_call(ENDPOINT, body, "prompt", DEFAULT_MODEL)
    return replace(call, texts=(call.fields["prompt"],))


def encoder(call: Call, identity: Identity) -> Encoder:
    """The encoder of the answer."""
    return ImagesEncoder(call, identity)


class ImagesEncoder(ObjectEncoder):
    """Images as the client asked for them, or as they came. Base64 becomes a `data:` URL; a URL is never fetched."""

    def written(self, result: Json) -> Json:
        """The images in the format that was asked for."""
        return [self._image(image) for image in result]

    def object(self, usage: Usage | None) -> Mapping[str, Json]:
        """The list, with the usage if the backend tells all of it."""
        made: dict[str, Json] = {"created": self.identity.created, "data": self.result}
        if usage is not None and usage.prompt is not None and usage.completion is not None:
            made["usage"] = {
                "input_tokens": usage.prompt,
                "input_tokens_details": {"text_tokens": usage.prompt, "image_tokens": 0},
                "output_tokens": usage.completion,
                "total_tokens": usage.total,
            }
        return made

    def _image(self, image: Json) -> Json:
        wanted = self.call.fields.get("response_format")
        made = {"revised_prompt": image["revised_prompt"]} if "revised_prompt" in image else {}
        if "base64" not in image:
            if wanted == "b64_json":
                raise _not_fetched(self.call.model)
            return made | {"url": image["url"]}
        if wanted == "url":
            return made | {"url": f"data:{image['media_type']};base64,{image['base64']}"}
        return made | {"b64_json": image["base64"]}


def _not_fetched(model: str) -> BackendError:
    """The client can mend this one, although only the answer tells it."""
    return BackendError(
        f"Unsupported value: 'response_format' cannot be 'b64_json' with the model '{model}': it answers with URLs.",
        status=400,
        type="invalid_request_error",
        code="unsupported_value",
        param="response_format",
        retry=False,
    )
