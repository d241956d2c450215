"""The names that LLM APIs give to things, to what they mean: the prompt, parameters, the generated text, its end."""

from __future__ import annotations

import re

from oaiproxy.jsontext import Json

PROMPTS = (
    *("messages", "prompt", "contents", "conversation", "chathistory", "inputs", "input", "inputtext", "textinput"),
    *("prompttext", "userprompt", "usermessage", "userinput", "query", "question", "message", "text", "content"),
    *("chatinput", "instruction", "instructions", "inputprompt", "promptmessages", "prompts", "utterance", "q"),
)
"""What a request's prompt is called, the surest first."""

SYSTEMS = ("system", "systemprompt", "systeminstruction", "systemmessage", "preamble", "systemtext")

_GROUPS: tuple[tuple[Json, tuple[str, ...]], ...] = (
    (0.7, ("temperature", "temp")),
    (0.9, ("topp", "p")),
    (40, ("topk", "k")),
    (
        64,
        (
            *("maxtokens", "maxnewtokens", "maxoutputtokens", "maxcompletiontokens", "maxtokenstosample", "maxlength"),
            *("maxgentokens", "maxgenlen", "maxtokencount", "numpredict", "npredict", "maxlen", "maximumtokens"),
        ),
    ),
    (["END"], ("stop", "stopsequences", "stopsequence", "stopwords", "stopstrings", "stopat")),
    (7, ("seed", "randomseed")),
    (0.5, ("frequencypenalty",)),
    (0.25, ("presencepenalty",)),
)
PARAMETERS: dict[str, tuple[int, Json]] = {
    name: (group, value) for group, (value, names) in enumerate(_GROUPS) for name in names
}
"""A parameter's name to its group, of which a request has one, and to a value that is seldom a default."""

MODELS = ("model", "modelid", "modelname", "engine", "deployment")
STREAMS = ("stream", "streaming", "isstream", "enablestream", "streamresponse")
ANSWERING = ("assistant", "model", "ai", "bot", "chatbot", "agent")
"""What the role of the model is called."""
ROLES = ("role", "author", "sender", "speaker")

CONTAINERS = re.compile(
    "param|option|config|setting|sampling|generation|arg|^inputs?$|^data$|payload|^body$|^request$|instance"
)
"""Optional objects of a request that are looked into for parameters."""

_TEXTS = {
    **dict.fromkeys(("generatedtext", "outputtext", "generatedoutput", "completiontext", "responsetext"), 12),
    **dict.fromkeys(("answertext", "modeloutput", "textoutput", "replytext"), 12),
    **dict.fromkeys(("completion", "answer", "reply", "response", "generation", "generated", "completions"), 10),
    **dict.fromkeys(("text", "content", "delta", "chunk", "token", "output", "piece", "fragment"), 8),
    **dict.fromkeys(("message", "result", "outputs", "prediction", "predictions", "generations", "data"), 6),
    **dict.fromkeys(("value", "body", "parts", "results", "choices", "candidates"), 4),
}
_SAYS_GENERATED = re.compile(
    r"\b(generat|complet|answer|repl(y|ies)|output text|model'?s? (output|response))", re.IGNORECASE
)
_ASIDE = re.compile(
    "usage|error|metadata|prompt|input|reason|think|citation|source|document|safety|warning|logprob|tool|history|query"
    "|question|echo|request"
)
_PROSE_LESS = re.compile(r"(^|_|\b)(id|ids|role|type|object|status|name|url|uri|version|reason|fingerprint|key|lang)$")

DONE = re.compile("^(is)?(done|finished|final|finish|complete|completed|eos|end|last|stop|stopped|ended)$")
FINISH = re.compile("(finish|stop|done|end|completion|termination)reason$")
FINISHED = ("stop", "end_turn", "eos", "eos_token", "complete", "completed", "finished", "end", "done", "success")
FAILED = re.compile("^(error|errors|err|errmsg|errormessage|errorcode|failure|failed|exception|refusal|blockreason)$")
UNSAID = re.compile(
    "toolcalls?$|functioncalls?$|logprobs?$|refusal|audio|images?$|embedding|annotation|citation|moderation|obfuscation"
)
"""Parts of an answer that are there only where something else than text was asked for."""


def plain(name: str) -> str:
    """A name without case and separators: `maxOutputTokens`, `max_output_tokens` and `max-output-tokens` are one."""
    return re.sub("[^a-z0-9]", "", name.lower())


def text_score(names: tuple[str, ...], description: str = "") -> int:
    """How likely the string under these names is the generated text; 0 where it cannot be."""
    if not names:
        return 10
    own = plain(names[-1])
    if _ASIDE.search(own) or any(_ASIDE.search(plain(each)) for each in names[:-1]):
        return 0
    score = _TEXTS.get(own, 0)
    if not score and _PROSE_LESS.search(re.sub("(?<=[a-z])(?=[A-Z])", "_", names[-1]).lower()):
        return 0
    if _SAYS_GENERATED.search(description):
        score += 5
    elif score and any(plain(each) in _TEXTS for each in names[:-1]):
        score += 1
    return score


_KIND_SAYS = re.compile("text|content|message|chunk|token|generation|answer|delta|piece")
_KIND_ASIDE = re.compile(
    "error|fail|audio|tool|function|code|file|search|shell|reason|think|image|citation|refusal|input"
)


def kind_score(kind: str) -> int:
    """How likely a kind of a stream's frames, by its name, is the one with the text; negative where it is not."""
    own = kind.lower()
    return (5 if _KIND_SAYS.search(own) else 0) + (2 if "delta" in own else 0) - 20 * bool(_KIND_ASIDE.search(own))


def count_value(name: str) -> int:
    """A whole number for a field of an answer: counts of tokens that add up, and small ones for the rest."""
    own = plain(name)
    if re.search("total", own):
        return 16
    if re.search("token|count|usage", own):
        if re.search("cache|reason|think", own):
            return 0
        return 9 if re.search("prompt|input|query", own) else 7
    if re.search("^created|timestamp", own):
        return 1_700_000_000
    if own in ("status", "statuscode", "httpstatus"):
        return 200
    return 0
