"""What kinds of findings there are: by code, what it means and what helps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of finding. `fix` helps where a finding itself says nothing more."""

    title: str
    fix: str = ""


CATALOG: dict[str, Kind] = {
    "E001": Kind("The file is not valid YAML"),
    "E002": Kind("A key is written twice"),
    "E003": Kind("YAML that mappings do not have"),
    "E004": Kind("The file is not a mapping"),
    "E005": Kind("The file is too large"),
    "E006": Kind("`${...}` is not a reference"),
    "E007": Kind("A substituted value does not fit its place"),
    "E101": Kind("An unknown key"),
    "E102": Kind("A required key is missing"),
    "E103": Kind("A value has the wrong type"),
    "E104": Kind("A value is not one of those that there are"),
    "E105": Kind("A value cannot be what it is"),
    "E106": Kind("A header cannot be sent"),
    "E107": Kind("What is extended cannot be found or read"),
    "E108": Kind("What is extended goes too deep, or in a circle"),
    "E109": Kind("A model's own words contradict the mapping"),
    "E201": Kind(
        "Template syntax",
        "a template is text with `{{ expression }}` and `{% if ... %} ... {% endif %}` in it; close what is opened",
    ),
    "E202": Kind(
        "An unknown filter", "the filters are those of the language's list, such as `default`, `join` and `json`"
    ),
    "E203": Kind(
        "An unknown name",
        "the names are those of the request, such as `prompt` and `messages`, and those of `$for` and `$let`",
    ),
    "E204": Kind("An unknown attribute", "leave the attribute out, or read it from what has it"),
    "E205": Kind(
        "A directive is used wrongly", "see the directives: `$for`, `$if`, `$match`, `$value`, `$merge` and `$let`"
    ),
    "E206": Kind("A filter or function takes other arguments", "give it the arguments that it takes"),
    "E207": Kind("Jinja that mappings do not have", "use a filter instead: `{{ value | filter }}`"),
    "E208": Kind("An unknown directive", "a literal key that begins with `$` is written `$$key`"),
    "E209": Kind("An unknown test", "the tests are such as `defined`, `none`, `string` and `number`"),
    "E210": Kind("A case that never comes", "write one of the values that it can have, or leave the case out"),
    "E211": Kind("A key that is meant to be computed", "templates and `${...}` stand in values only"),
    "E212": Kind("A number that JSON does not have", "write a number, or `~`"),
    "E213": Kind("A name needs a key of the mapping", "give the mapping the key that the name needs"),
    "E214": Kind("A chat template cannot be used", "name a chat template that there is"),
    "E301": Kind("Selector syntax", "a selector is a path into the answer, such as `choices[0].text`"),
    "E302": Kind(
        "An unknown function, or one that takes other arguments",
        "the functions are those of JMESPath, `concat`, `parse_json`, `from_base64` and those of the frame",
    ),
    "E303": Kind("A selector has no effect"),
    "E401": Kind("The request cannot be built"),
    "E402": Kind("The client's text is not sent, or not as it is"),
    "E403": Kind("Text is made of what may be absent"),
    "E501": Kind("An example sends something else"),
    "E502": Kind("An example comes out otherwise"),
    "E503": Kind("An example cannot be run"),
    "E504": Kind("An answer depends on where it is cut"),
    "E505": Kind("An example has another number of calls"),
    "E601": Kind("An environment variable is not set"),
    "E602": Kind("A file cannot be read"),
    "E603": Kind("A mapping file is missing"),
    "E604": Kind("A model has two mappings"),
    "E605": Kind("A library is missing"),
    "E606": Kind("A credential or certificate cannot be used"),
    "W006": Kind("Text that is a `${...}` but for one sign"),
    "W105": Kind("A legal key that weakens"),
    "W301": Kind("A selector that is legal and means something else"),
    "W402": Kind("The text of a role is never sent"),
    "W501": Kind("An example that demands nothing"),
    "W502": Kind("A field that is misspelled in an example"),
}
"""All codes that findings have. The first digit is the stage: yaml, schema, templates, selectors, probes, examples,
environment, live; E is an error, W a warning."""
