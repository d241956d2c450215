"""oaiproxy lets any OpenAI client talk to any LLM HTTP API, described by one YAML mapping file."""

__version__ = "0.1.0"
