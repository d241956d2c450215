// OpenAI's own client for Node.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { CITY, collect, KEY, MODEL, PIXEL, until, URL } from "./shared.mjs";

const client = new OpenAI({ baseURL: URL, apiKey: KEY, maxRetries: 0 });
const say = (content, more = {}) => ({ model: MODEL, messages: [{ role: "user", content }], ...more });
const WEATHER = { type: "function", function: { name: "get_weather", parameters: CITY } };
const Person = z.object({ name: z.string(), age: z.number() });
const ADA = { name: "Ada", age: 36 };

test("whole", async () => {
  const made = await client.chat.completions.create(say("Reply with exactly: Hello there"));
  assert.equal(made.choices[0].message.content, "Hello there");
  assert.equal(made.choices[0].finish_reason, "stop");
  assert.equal(made.usage.total_tokens, 7);
  assert.ok(made._request_id);
});

test("stream", async () => {
  const asked = say("Reply with exactly: one two three", { stream: true, stream_options: { include_usage: true } });
  const chunks = await collect(await client.chat.completions.create(asked));
  const last = chunks.pop();
  assert.deepEqual(chunks.map((chunk) => chunk.choices[0].delta.content), ["", "one", " two", " three", undefined]);
  assert.equal(last.usage.completion_tokens, 3);
});

test("the helper for streams", async () => {
  const stream = client.chat.completions.stream(say("Weather in both 'Rome' and 'Oslo'?", { tools: [WEATHER] }));
  const made = (await stream.finalChatCompletion()).choices[0];
  assert.equal(made.finish_reason, "tool_calls");
  const calls = made.message.tool_calls.map((call) => JSON.parse(call.function.arguments));
  assert.deepEqual(calls, [{ city: "Rome" }, { city: "Oslo" }]);
});

for (const stream of [false, true]) {
  test(`tools by a runner, ${stream ? "stream" : "whole"}`, async () => {
    const run = (args) => `sun in ${args.city}`;
    const tools = [{ type: "function", function: { ...WEATHER.function, function: run, parse: JSON.parse } }];
    const runner = client.chat.completions.runTools(say("Weather in both 'Rome' and 'Oslo'?", { tools, stream }));
    assert.equal(await runner.finalContent(), "It came to: sun in Rome; sun in Oslo");
  });
}

test("structured output", async () => {
  const asked = say("I am 'Ada', age=36", { response_format: zodResponseFormat(Person, "person") });
  assert.deepEqual((await client.chat.completions.parse(asked)).choices[0].message.parsed, ADA);
  const streamed = await client.chat.completions.stream(asked).finalChatCompletion();
  assert.deepEqual(streamed.choices[0].message.parsed, ADA);
});

test("pictures", async () => {
  const picture = { type: "image_url", image_url: { url: `data:image/png;base64,${PIXEL}` } };
  const made = await client.chat.completions.create(say([{ type: "text", text: "What?" }, picture]));
  assert.equal(made.choices[0].message.content, "You said: What? I see image/png.");
});

test("embeddings, also in base64", async () => {
  for (const more of [{}, { encoding_format: "float" }]) {
    const made = await client.embeddings.create({ model: MODEL, input: ["one", "two"], dimensions: 4, ...more });
    for (const row of made.data) assert.equal(row.embedding.reduce((sum, each) => sum + each), 7 / 64);
    assert.deepEqual(made.data.map((row) => row.index), [0, 1]);
  }
});

test("completions and models", async () => {
  const made = await client.completions.create({ model: MODEL, prompt: "say exactly: one two", max_tokens: 9 });
  assert.equal(made.choices[0].text, "one two");
  assert.deepEqual((await collect(client.models.list())).map((model) => model.id), [MODEL, "grey/parrot"]);
  assert.equal((await client.models.retrieve("grey/parrot")).id, "grey/parrot");
});

const ERRORS = [
  [{ model: "nobody" }, OpenAI.NotFoundError],
  [{ temperature: 9 }, OpenAI.BadRequestError],
  [{ messages: [{ role: "user", content: "status=429 wait=7" }] }, OpenAI.RateLimitError],
  [{ messages: [{ role: "user", content: "status=500" }] }, OpenAI.InternalServerError],
];
for (const [fields, kind] of ERRORS) {
  for (const stream of [false, true]) {
    test(`${kind.name}, ${stream ? "stream" : "whole"}`, async () => {
      const failed = await client.chat.completions.create({ ...say("hi"), stream, ...fields }).catch((error) => error);
      assert.ok(failed instanceof kind, String(failed));
      assert.ok(failed.requestID);
    });
  }
}

test("a retry", async () => {
  const text = `status=429 times=1 wait=0.1 key=${randomUUID()} Reply with exactly: again`;
  const made = await client.chat.completions.create(say(text), { maxRetries: 1 });
  assert.equal(made.choices[0].message.content, "again");
});

for (const order of ["break=3", "trouble=3"]) {
  test(`a failure in a stream is raised: ${order}`, async () => {
    let text = "";
    await assert.rejects(async () => {
      const asked = say(`${order} Reply with exactly: a b c d`, { stream: true });
      for await (const chunk of await client.chat.completions.create(asked)) text += chunk.choices[0].delta.content;
    });
    assert.equal(text, "a b");
  });
}

test("cancellation", async () => {
  const key = randomUUID();
  const controller = new AbortController();
  const asking = client.chat.completions.create(say(`forever=${key}`), { signal: controller.signal });
  const failed = assert.rejects(asking);
  await until("begun", key);
  controller.abort();
  await failed;
  await until("left", key);
  const other = randomUUID();
  const stream = await client.chat.completions.create(say(`forever=${other}`, { stream: true }));
  for await (const chunk of stream) if (chunk.choices[0].delta.content) break;
  await until("left", other);
});

const FUNCTION = { type: "function", strict: true, ...WEATHER.function };

test("responses", async () => {
  const made = await client.responses.create({ model: MODEL, input: "Reply with exactly: Hello there" });
  assert.equal(made.output_text, "Hello there");
  const stream = client.responses.stream({ model: MODEL, input: "Reply with exactly: one two" });
  const kinds = (await collect(stream)).map((event) => event.type);
  assert.equal(kinds[0], "response.created");
  assert.equal(kinds.at(-1), "response.completed");
  assert.equal((await stream.finalResponse()).output_text, "one two");
});

test("responses with tools", async () => {
  const input = [{ role: "user", content: "Weather in 'Rome'?" }];
  const first = await client.responses.create({ model: MODEL, input, tools: [FUNCTION] });
  const call = first.output.find((item) => item.type === "function_call");
  assert.deepEqual(JSON.parse(call.arguments), { city: "Rome" });
  const result = { type: "function_call_output", call_id: call.call_id, output: "sunny" };
  const second = await client.responses.create({ model: MODEL, input: [...input, ...first.output, result] });
  assert.equal(second.output_text, "It came to: sunny");
});

test("responses with structured output", async () => {
  const asked = { model: MODEL, input: "I am 'Ada', age=36", text: { format: zodTextFormat(Person, "person") } };
  assert.deepEqual((await client.responses.parse(asked)).output_parsed, ADA);
});

test("responses that fail", async () => {
  const asked = { model: MODEL, input: "trouble=3 Reply with exactly: a b c d", stream: true };
  await assert.rejects(async () => collect(await client.responses.create(asked)));
  await assert.rejects(client.responses.create({ model: "nobody", input: "hi" }), OpenAI.NotFoundError);
});
