"""The names that APIs give to what OpenAI calls otherwise: what guesses of a request and of an answer go by.

All are written as `leaves.plain` writes them: small letters and digits alone.
"""

from __future__ import annotations

from collections.abc import Mapping

PARAMETERS: Mapping[str, frozenset[str]] = {
    "temperature": frozenset({"temperature", "temp"}),
    "top_p": frozenset({"topp", "p", "nucleus", "nucleussampling"}),
    "top_k": frozenset({"topk", "k"}),
    "max_tokens": frozenset(
        {
            *("maxtokens", "maxnewtokens", "maxoutputtokens", "maxlength", "numpredict", "npredict", "maxlen"),
            *("maxtokenstosample", "maxcompletiontokens", "maxgenlen", "maxgentokens", "maxtokencount", "numtokens"),
            *("maxgeneratedtokens", "maxresponsetokens", "maxanswertokens", "maxtokenstogenerate", "tokenlimit"),
            *("ntokens", "nnewtokens", "newtokens", "outputlength", "responselength"),
        }
    ),
    "stop": frozenset({"stop", "stopsequences", "stopsequence", "stopstrings", "stopwords", "stopstring", "stoptexts"}),
    "seed": frozenset({"seed", "randomseed", "samplerseed", "randseed"}),
    "presence_penalty": frozenset({"presencepenalty"}),
    "frequency_penalty": frozenset({"frequencypenalty"}),
    "logit_bias": frozenset({"logitbias"}),
    "user": frozenset({"user", "userid", "enduser", "enduserid"}),
    "reasoning_effort": frozenset({"reasoningeffort"}),
}
"""By OpenAI's name."""

STREAM = frozenset({"stream", "streaming", "isstream", "streamed", "usestream", "enablestreaming"})
MODEL = frozenset({"model", "modelid", "modelname", "modeluri", "engine", "engineid", "deployment", "llm"})
MODEL_SEGMENTS = frozenset({"models", "model", "engines", "deployments"})
"""The segment of a path behind which a model stands."""

PROMPT: Mapping[str, int] = {
    **dict.fromkeys(("prompt", "userprompt", "userinput", "usermessage", "inputtext", "textinput"), 10),
    **dict.fromkeys(("prompttext", "inputs", "input", "question", "query", "instances", "utterance"), 9),
    **dict.fromkeys(("message", "text", "content", "ask", "say", "q", "userquery", "chatinput"), 8),
    **dict.fromkeys(("msg", "instruction", "body", "request", "prompts", "texts", "user"), 5),
}
"""How likely a text of this name is the prompt."""

SYSTEM = frozenset(
    {
        *("system", "systemprompt", "systeminstruction", "systeminstructions", "systemmessage", "preamble"),
        *("instructions", "persona", "systemtext", "developer"),
    }
)
HISTORY = frozenset({"history", "chathistory", "previousmessages", "pastmessages", "conversationhistory"})
ROLE = ("role", "author", "speaker", "sender", "from", "by", "who", "type", "participant")
ROLES: Mapping[str, str] = {
    **dict.fromkeys(("user", "human", "customer", "client", "usermessage"), "user"),
    **dict.fromkeys(("assistant", "bot", "model", "ai", "chatbot", "agent", "apimessage"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
}
CONTENT = ("content", "contents", "parts", "text", "message", "value", "body", "prompt")
"""Where a message has its text."""

CONSTANT = frozenset(
    {
        *("role", "type", "format", "language", "lang", "locale", "voice", "version", "mode", "id", "name", "object"),
        *("url", "uri", "timezone", "model", "modelid", "responsemode", "chatid", "sessionid", "conversationid"),
        *("created", "createdat", "timestamp", "requestid", "traceid", "status", "finishreason", "stopreason"),
    }
)
"""Texts of these names are neither prompts nor answers."""

SECRETS = frozenset(
    {
        *("apikey", "key", "token", "accesstoken", "authtoken", "secret", "password", "apitoken", "secretkey"),
        *("xapikey", "apisecret", "clientsecret", "sessiontoken", "subscriptionkey", "appkey", "accesskey"),
    }
)

TEXT: Mapping[str, int] = {
    **dict.fromkeys(("generatedtext", "outputtext", "completion", "textoutput", "generation"), 12),
    **dict.fromkeys(("content", "text", "answer", "response", "reply", "output", "delta", "chunk", "token"), 9),
    **dict.fromkeys(("message", "result", "results", "data", "outputs", "say", "said", "messages", "msg"), 5),
}
"""How likely a text of this name is the answer."""

REASONING = frozenset({"reasoning", "reasoningcontent", "thinking", "thought", "thoughts", "reasoningtext"})
FINISH = frozenset(
    {
        *("finishreason", "stopreason", "donereason", "stoptype", "completionreason", "endreason", "finish"),
        *("stoppedreason", "terminationreason", "finishtype", "stopcause"),
    }
)
WEAK_FINISH = frozenset({"stopped", "reason", "finished", "ending"})
"""Names that say so only of a single word."""
COUNTS: Mapping[str, frozenset[str]] = {
    "prompt": frozenset(
        {
            *("prompttokens", "inputtokens", "promptevalcount", "prompttokencount", "inputtokencount", "tokensin"),
            *(
                "inputtokenscount",
                "numprompttokens",
                "numinputtokens",
                "promptn",
                "nprompt",
                "tokensprompt",
                "tokensevaluated",
            ),
            *("inputtexttokens", "tokensinput"),
        }
    ),
    "completion": frozenset(
        {
            *("completiontokens", "outputtokens", "evalcount", "candidatestokencount", "outputtokencount", "tokensout"),
            *("tokensgenerated", "generatedtokens", "generatedtokencount", "numgeneratedtokens", "numoutputtokens"),
            *("predictedn", "tokenspredicted", "tokensoutput", "tokenscompletion", "responsetokens", "newtokens"),
        }
    ),
    "total": frozenset({"totaltokens", "totaltokencount", "tokenstotal", "tokencount"}),
    "cached": frozenset({"cachedtokens", "cachedcontenttokencount", "cachereadinputtokens", "cachedinputtokens"}),
    "reasoning": frozenset({"reasoningtokens", "thoughtstokencount", "thinkingtokens"}),
}
"""Token counts, by the part of `usage`."""

ASIDE = frozenset(
    {"warning", "warnings", "notice", "notices", "logs", "log", "debug", "disclaimer", "disclaimers", "sources"}
)
"""What stands inside of these is said beside the answer."""

ID = ("id", "responseid", "messageid", "completionid", "generationid", "requestid")
ANSWERED = frozenset({"model", "modelversion", "modelid", "modelname"})
"""Where an answer names the model."""
DONE = frozenset(
    {
        *("done", "finished", "isfinished", "isfinal", "final", "complete", "completed", "isend", "end", "stop"),
        *("last", "islast", "isdone", "iscomplete", "eos", "isstop", "stopped"),
    }
)
TYPE = ("type", "event", "eventtype", "kind", "messagetype", "chunktype", "object")
"""What tells kinds of frames apart."""

LISTS = frozenset({"choices", "candidates", "results", "generations", "outputs", "alternatives", "completions"})
"""Lists of answers, of which the first is meant; of other lists all items belong to one answer."""
