"""Model names to mappings: an immutable table, replaced whole."""

from __future__ import annotations

from collections.abc import Iterable

from oaiproxy.endpoints.models import encode_model
from oaiproxy.errors import ClientError
from oaiproxy.features import features
from oaiproxy.jsontext import Json
from oaiproxy.mapping import Mapping


def unknown_model(model: str) -> ClientError:
    """What is told of a model that nobody serves, and of one that is not for this client: nobody tells them apart."""
    message = f"The model '{model[:200]}' does not exist or you do not have access to it."
    return ClientError(message, status=404, param="model", code="model_not_found")


class Routes:
    """Which mapping serves which model. `created` is what the model list says, in seconds since 1970."""

    def __init__(self, mappings: Iterable[Mapping], created: int) -> None:
        self._table = {model: mapping for mapping in mappings for model in mapping.models}
        self._created = created
        self._features: dict[tuple[int, str], Json] = {}

    def resolve(self, model: str) -> Mapping:
        """The mapping of a model. Raises ClientError (404) when nobody serves it."""
        try:
            return self._table[model]
        except KeyError:
            raise unknown_model(model) from None

    def names(self) -> frozenset[str]:
        """The names of all models."""
        return frozenset(self._table)

    def models(self) -> list[dict[str, Json]]:
        """The model objects, in the order of the mappings."""
        return [self._object(name, mapping) for name, mapping in self._table.items()]

    def model(self, name: str) -> dict[str, Json]:
        """One model object. Raises ClientError (404) when nobody serves it."""
        return self._object(name, self.resolve(name))

    def _object(self, name: str, mapping: Mapping) -> dict[str, Json]:
        key = (id(mapping), name if name in mapping.variants else "")  # all others of a mapping are alike
        if key not in self._features:
            self._features[key] = {each: dict(found) for each, found in features(mapping, name).items()}
        return encode_model(name, mapping.name, self._created, self._features[key])
