"""What kinds of findings there are: by code, what it means and what helps."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of finding. `cause` says why it comes; `fix` helps where a finding itself says nothing more."""

    title: str
    fix: str = ""
    cause: str = ""


CATALOG: dict[str, Kind] = {
    "E001": Kind(
        title="The file is not valid YAML",
        fix=(
            "correct the line; values that begin with `{`, `[`, `*`, `&`, `%` or `@`, or hold `: ` or ` #`, go in "
            "quotes"
        ),
        cause=(
            "The text breaks a rule of YAML: a bracket or quote that is never closed, a tab as indentation, a "
            "line that fits no level, or a value that needs quotes."
        ),
    ),
    "E002": Kind(
        title="A key is written twice",
        fix="keep one of the two, or give one another name",
        cause=(
            "The same key stands twice in one block. YAML allows each key once; other readers would silently keep "
            "one of the two."
        ),
    ),
    "E003": Kind(
        title="YAML that mappings do not have",
        fix="write it out in plain YAML; `$merge` joins parts of a body",
        cause=(
            "Tags, merge keys (`<<`), several documents in one file and keys that are not text are left out of "
            "the language: they hide what a mapping says."
        ),
    ),
    "E004": Kind(
        title="The file is not a mapping",
        fix="write `key: value` lines, of which the first is `oaiproxy: 1`",
        cause=(
            "A mapping file is a block of `key: value` lines. This one is empty, or holds a list or a single value."
        ),
    ),
    "E005": Kind(
        title="The file is too large",
        fix="take data and levels out, and use fewer aliases",
        cause=(
            "The file is larger, nested deeper, or holds more values (aliases written out) than any mapping "
            "needs. The limits keep reading it cheap and safe."
        ),
    ),
    "E006": Kind(
        title="`${...}` is not a reference",
        fix="write `${NAME}`, `${NAME:-default}` or `${file:/path}`; `$${` is a literal `${`",
        cause="`${` begins a reference to the environment or to a file, and what follows is in none of its forms.",
    ),
    "E007": Kind(
        title="A substituted value would be read as code",
        fix="put it under `vars`, as `name: ${NAME}`, and read `vars.name` in the template",
        cause=(
            "A value from the environment must stay data. It stands inside a template or an expression, or it "
            "brings template marks such as `{{` with it."
        ),
    ),
    "E101": Kind(
        title="An unknown key",
        fix="correct the name, or move the key to where it belongs; your own keys begin with `x-` at the top level",
        cause="The block has no such key. It is misspelled, stands at the wrong level, or belongs to another block.",
    ),
    "E102": Kind(
        title="A required key is missing",
        fix="add the key; the report shows an example of it",
        cause="The block cannot work without this key, or needs one of several.",
    ),
    "E103": Kind(
        title="A value has the wrong type",
        fix="write the type that the report names; quotes make text of anything",
        cause=(
            "The key takes another kind of value: YAML reads `8000` as a number, `yes` as text, `true` as a "
            "boolean, and nothing as null."
        ),
    ),
    "E104": Kind(
        title="A value is not one of those allowed",
        fix="write one of the words that the report lists",
        cause="The key takes one of a few words, and this is none of them.",
    ),
    "E105": Kind(
        title="A value that does not fit",
        fix="change it as the report says, or leave the key out",
        cause=(
            "The value has the right type, but cannot do its work: it is empty or out of range, breaks the form "
            "of its kind, or contradicts another key."
        ),
    ),
    "E106": Kind(
        title="A header that cannot be sent",
        fix=(
            "give it another name, or leave it out; what a client proves itself with is passed on by `auth: "
            "{passthrough: ...}`"
        ),
        cause=(
            "The name is none that HTTP allows, is given twice, belongs to the connection, or is the proof of who "
            "the client is."
        ),
    ),
    "E107": Kind(
        title="What is extended cannot be read",
        fix="correct the name; a path ends in `.yaml` and is relative to the file",
        cause="`extends` names a mapping that does not ship, or a file that is not there or cannot be read.",
    ),
    "E108": Kind(
        title="What is extended goes in a circle, or too deep",
        fix="leave one `extends` out",
        cause="Mappings extend each other in a circle, or more of them in a row than is allowed.",
    ),
    "E109": Kind(
        title="What is said of a model contradicts the mapping",
        fix="change the entry, or read the field in a template",
        cause=(
            "An entry of `models` gives a default, drops a field or asks for a stream in a way that the mapping's "
            "templates or blocks do not support."
        ),
    ),
    "E201": Kind(
        title="Template syntax",
        fix=(
            "a template is text with `{{ expression }}` and `{% if ... %} ... {% endif %}` in it; close what is opened"
        ),
        cause="The text between `{{ }}` or `{% %}`, or of a directive, is not an expression of Jinja.",
    ),
    "E202": Kind(
        title="An unknown filter",
        fix="the filters are those of the language's list, such as `default`, `join` and `json`",
        cause=(
            "The name after `|` is no filter of the language. Only those that are listed exist, so that a "
            "template cannot do harm."
        ),
    ),
    "E203": Kind(
        title="An unknown name",
        fix="the names are those of the request, such as `prompt` and `messages`, and those of `$for` and `$let`",
        cause=(
            "A template reads a name that does not exist where it stands. Names are known before any request "
            "comes, so a misspelled one is found here and not at run time."
        ),
    ),
    "E204": Kind(
        title="An unknown attribute",
        fix="leave the attribute out, or read it from what has it",
        cause="The value has no such attribute: a message has a `role`, a text has none.",
    ),
    "E205": Kind(
        title="A directive is used wrongly",
        fix="see the directives: `$for`, `$if`, `$match`, `$value`, `$merge` and `$let`",
        cause=(
            "A key that begins with `$` computes its place in the tree. Its value, its neighbours or its place "
            "are not those that it takes."
        ),
    ),
    "E206": Kind(
        title="A filter or function gets the wrong arguments",
        fix="give it the arguments that it takes",
        cause="There are too many or too few arguments, or one has a name that is not known.",
    ),
    "E207": Kind(
        title="Jinja that mappings do not have",
        fix="use a filter instead: `{{ value | filter }}`",
        cause=(
            "Templates have no methods, includes, imports or macros: each would be a way out of the sandbox, or "
            "hide what is sent."
        ),
    ),
    "E208": Kind(
        title="An unknown directive",
        fix="a literal key that begins with `$` is written `$$key`",
        cause="A key that begins with `$` is none of the directives.",
    ),
    "E209": Kind(
        title="An unknown test",
        fix="the tests are such as `defined`, `none`, `string` and `number`",
        cause="The word after `is` is no test of the language.",
    ),
    "E210": Kind(
        title="A case that never comes",
        fix="write one of the values that it can have, or leave the case out",
        cause="A value is compared with a word that it can never be, so that the case is never chosen.",
    ),
    "E211": Kind(
        title="A key that is meant to be computed",
        fix="write the key out; `$merge` adds computed keys: templates and `${...}` stand in values only",
        cause="A template or a reference stands in a key, where it is not replaced.",
    ),
    "E212": Kind(
        title="A number that JSON does not have",
        fix="write a number, or `~`",
        cause="YAML has infinite numbers and `.nan`; JSON, in which requests are sent, has neither.",
    ),
    "E213": Kind(
        title="A name needs a key of the mapping",
        fix="give the mapping the key that the name needs",
        cause="The name exists only where the mapping says how it is made.",
    ),
    "E214": Kind(
        title="A chat template that cannot be used",
        fix="name a chat template that there is, or a file that holds one",
        cause="No chat template has this name, or the file holds none.",
    ),
    "E301": Kind(
        title="Selector syntax",
        fix="a selector is a path into the answer, such as `choices[0].text`",
        cause=(
            "The text is not an expression of JMESPath. A name with a hyphen, a comparison with one `=`, "
            "arithmetic, or a path that ends in a dot are the usual causes."
        ),
    ),
    "E302": Kind(
        title="An unknown function in a selector, or wrong arguments",
        fix="the functions are those of JMESPath, `concat`, `parse_json`, `from_base64` and those of the frame",
        cause="The function does not exist, or takes more or fewer arguments.",
    ),
    "E303": Kind(
        title="A selector has no effect",
        fix="select what tells the last frame, such as `finished`; compare in a condition: `status == 404`",
        cause="A `done` that is the same in every frame ends the stream at the first; such a `when` fits any failure.",
    ),
    "E401": Kind(
        title="The request cannot be built",
        fix="guard the value with `$if` or `default`; the report names the request",
        cause=(
            "`check` sends requests of many kinds through the templates, and with one of them a template fails. A "
            "client would get an error."
        ),
    ),
    "E402": Kind(
        title="The client's text is not sent, or not as it is",
        fix="send it as it is: `{{ prompt }}`, or the messages by `$for`",
        cause=(
            "A text of quotes, line breaks and rare characters was put into a message, and is nowhere in what is "
            "sent. A filter alters it, or no template reads it."
        ),
    ),
    "E403": Kind(
        title="Text is made of what may be absent",
        fix="give it a default: `{{ name | default('') }}`",
        cause=(
            "A client may leave this field out. As a value of its own it would drop its key; as a part of a text "
            "it would leave a hole."
        ),
    ),
    "E501": Kind(
        title="An example sends something else",
        fix="correct the request's templates, or the example",
        cause=(
            "What the mapping sends for the example's request is not what `sends` or `sends_like` says, types included."
        ),
    ),
    "E502": Kind(
        title="An example comes out otherwise",
        fix="correct the selectors, or the example",
        cause="What a client gets for the example's answer is not what `replies` says.",
    ),
    "E503": Kind(
        title="An example that cannot be run",
        fix="correct the example",
        cause=(
            "Its request is none of OpenAI's, its model is none of the mapping's, or its answer cannot be sent in "
            "the stream's format."
        ),
    ),
    "E504": Kind(
        title="An answer depends on where it is cut",
        fix="select from whole frames; a cumulative text needs `text_mode: cumulative`",
        cause=(
            "The network may cut an answer anywhere. Delivered in other pieces, with other line ends, or to a "
            "client that does not stream, this one says something else."
        ),
    ),
    "E505": Kind(
        title="An example has another number of calls",
        fix="give one answer for each call, in their order",
        cause="The mapping calls the backend more or fewer times than the example has answers.",
    ),
    "E601": Kind(
        title="An environment variable is not set",
        fix="`export NAME=...`, or give a default: `${NAME:-...}`",
        cause=(
            "The file takes a value from the environment, which does not have it, and there is no default. `--no- "
            "env` does not ask for it."
        ),
    ),
    "E602": Kind(
        title="A file cannot be read",
        fix="correct the path, or make the file readable for this user",
        cause="A file that the mapping names is not there, or this user may not read it.",
    ),
    "E603": Kind(
        title="A mapping file is missing",
        fix="correct the name; paths are relative to the configuration file",
        cause="The configuration names a mapping that is neither a file beside it nor one of those that ship.",
    ),
    "E604": Kind(
        title="A model has two mappings",
        fix="give it another name in one of them",
        cause=(
            "Two mappings of one configuration have a model of the same name, and a request would not know where to go."
        ),
    ),
    "E605": Kind(
        title="A library is missing",
        fix="install the extra that the report names",
        cause="This kind of credentials needs a library that is not installed with the proxy by default.",
    ),
    "E606": Kind(
        title="A credential or certificate that cannot be used",
        fix="take the file as it was issued, with its line breaks: `${file:/run/secrets/key.pem}`",
        cause=(
            "A key or certificate is not what its place needs: not in PEM, locked by a password, or not fitting "
            "its partner."
        ),
    ),
    "E607": Kind(
        title="A model that cannot answer in place of another",
        fix="name a model that another mapping of this configuration has",
        cause=(
            "`fallback` names a model that no mapping of the configuration has, that is here twice, that is the very "
            "one which has failed, or that would be sent a client's own key which is for another server."
        ),
    ),
    "E701": Kind(
        title="The live backend cannot be reached",
        fix="correct `backend.url`, or start the backend; `oaiproxy mock` stands in for it",
        cause="`check --live` found nobody at the address, or nobody who answered in time or speaks as it says.",
    ),
    "E702": Kind(
        title="The live backend refuses the key",
        fix="set the variable that the report names to a key that is valid for this address",
        cause="The backend answered that the credential is missing, wrong, or not allowed to do this.",
    ),
    "E703": Kind(
        title="The live backend answers what the mapping does not read",
        fix="correct the selector, or the `format` of the stream; `oaiproxy record` keeps the answer as an example",
        cause="The answer came, but the mapping's selectors do not find the text in it, or its framing does not fit.",
    ),
    "E704": Kind(
        title="The live backend refuses the request",
        fix="correct the `path`, or the field that the backend names",
        cause="The backend answered with a status of failure: what the mapping sends is not what this API takes.",
    ),
    "E705": Kind(
        title="The live backend's answer breaks off",
        fix="correct `done` or `end`; if they are right, the backend or the way to it is at fault",
        cause="The answer began, and ended before what the mapping says is its end.",
    ),
    "W006": Kind(
        title="Text that is a reference or a template but for one sign",
        fix="write `${NAME:-default}` or `{{ name }}` with all its signs; quotes do not help, since it is text already",
        cause=(
            "A `$` or a brace is missing, or there is one too many, or the variable is one of another tool: it stays "
            "text. Braces that are meant as text stand in a template: `{{ '{seed}' }}`."
        ),
    ),
    "W105": Kind(
        title="A legal key that weakens",
        fix=(
            "give the authority that signed the backend's certificate: `tls: {ca: ca.pem}`; give clients `keys`, or "
            "listen on 127.0.0.1"
        ),
        cause=(
            "`tls.verify: false` trusts whoever answers. A `server.host` that is not loopback, without `keys`, lets "
            "in whoever can reach it; `serve` then wants `server.insecure: true`."
        ),
    ),
    "W106": Kind(
        title="A secret is written in the file",
        fix=(
            "take it from the environment: `${NAME}`, or from a file: `${file:/run/secrets/key}`; then replace "
            "the secret"
        ),
        cause=(
            "A key, token or password stands in the file itself, or something looks like one. Whoever reads the "
            "file, its copies or its history has it. Reports show `*` in its place."
        ),
    ),
    "W107": Kind(
        title="Requests are not encrypted",
        fix="write `https://...`, or reach the backend by a tunnel on `localhost`",
        cause=(
            "`backend.url` is plain `http` or `ws` to a host that is not this machine. Messages, and credentials "
            "with them, can be read on the way."
        ),
    ),
    "W108": Kind(
        title="A value that nothing reads",
        fix="read it in a template, or leave it out; correct the model's name",
        cause=(
            "A name of `vars`, or a header of `client_headers`, is in no template; or a key of the configuration may "
            "use a model that none of its mappings has. It is often a misspelled one."
        ),
    ),
    "W201": Kind(
        title="Text is made of a value",
        fix='leave the blanks out: `"{{ temperature }}"`; write the body as YAML, not as JSON in quotes',
        cause=(
            "A template that is one expression alone keeps its type. With blanks around it the template is text, "
            'so that the backend gets `" 0.5 "` for a number. A body that is one string is sent as a JSON string, '
            "whatever stands in it."
        ),
    ),
    "W202": Kind(
        title="A comparison that never holds",
        fix="compare with one of the words that it can be",
        cause=(
            "A template compares a value with a word that the value never is. Roles are `system` also where a client "
            "says `developer`, and `tool` also where one says `function`."
        ),
    ),
    "W301": Kind(
        title="A selector that means something else",
        fix="write constants in back-ticks and texts in single quotes; put `!( )` around a path",
        cause=(
            "It is valid JMESPath, but `finished == true` compares with a field called `true`, and `!a.b` negates "
            "`a` alone."
        ),
    ),
    "W302": Kind(
        title="A text or a count of tokens that is the same in every answer",
        fix="write the field's name without quotes",
        cause="The selector is a constant: single quotes and back-ticks make text of a field's name.",
    ),
    "W402": Kind(
        title="The text of a role is never sent",
        fix="send the messages of that role too, or read `system`",
        cause="The mapping sends conversations, but leaves out what one of the roles says.",
    ),
    "W403": Kind(
        title="A client's parameter has no effect",
        fix=(
            "read the client's: `{{ temperature | default(0.7) }}`; if it is meant, say `on_unsupported: "
            "{temperature: drop}`"
        ),
        cause=(
            "The body holds a fixed number where the backend takes a parameter that clients send too, and no "
            "template reads theirs."
        ),
    ),
    "W501": Kind(
        title="An example that demands nothing",
        fix="say what comes out: `replies: {text: ...}`",
        cause="It says neither what is sent nor what comes out, so that it passes whatever the mapping does.",
    ),
    "W502": Kind(
        title="A field that is misspelled in an example",
        fix="correct the name",
        cause="OpenAI has no such field, no template reads it, and it is nearly one of OpenAI's.",
    ),
    "W503": Kind(
        title="An event of an example is not listed",
        fix="list it; `name: ~` where it tells nothing",
        cause="The example's stream has an event for which the mapping has no entry or rule. What it tells is lost.",
    ),
}
"""All codes that findings have. The first digit is the stage: yaml, schema, templates, selectors, probes, examples,
environment, live; E is an error, W a warning."""

STAGES = {
    "0": "YAML",
    "1": "Keys and values",
    "2": "Templates",
    "3": "Selectors",
    "4": "Probes",
    "5": "Examples",
    "6": "Environment",
    "7": "Live",
}
"""What each stage of `check` looks at, by the first digit of its codes."""


PAGE = "docs/diagnostics.md"
"""Where each code is told of, under an anchor of its own."""


def anchor(code: str) -> str:
    """The part of docs/diagnostics.md that is about a code, as links name it: its heading in lower case."""
    heading = f"{code}: {CATALOG[code].title}"
    return re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-")
