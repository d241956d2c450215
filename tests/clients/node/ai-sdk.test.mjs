// Vercel's AI SDK, by its provider for compatible servers and by the one for OpenAI: chat and responses.
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embedMany, generateObject, generateText, RetryError, stepCountIs, streamObject } from "ai";
import { streamText, tool } from "ai";
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { z } from "zod";
import { collect, KEY, MODEL, PIXEL, until, URL } from "./shared.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;
const settings = { baseURL: URL, apiKey: KEY };
const compatible = createOpenAICompatible({
  ...settings,
  name: "proxy",
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const openai = createOpenAI(settings);
const MODELS = { compatible: compatible(MODEL), chat: openai.chat(MODEL), responses: openai.responses(MODEL) };
const Person = z.object({ name: z.string(), age: z.number() });
const ADA = { name: "Ada", age: 36 };
const BOTH = "Weather in both 'Rome' and 'Oslo'?";
const tools = {
  get_weather: tool({
    description: "The weather in a city",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => `sun in ${city}`,
  }),
};
const quiet = { onError: () => {} };

for (const [kind, model] of Object.entries(MODELS)) {
  test(`${kind}: whole`, async () => {
    const made = await generateText({ model, system: "Be brief.", prompt: "Reply with exactly: Hello there" });
    assert.equal(made.text, "Hello there");
    assert.equal(made.finishReason, "stop");
    assert.deepEqual([made.usage.inputTokens, made.usage.outputTokens], [7, 2]);
  });

  test(`${kind}: stream`, async () => {
    const made = streamText({ model, prompt: "Reply with exactly: one two three", ...quiet });
    assert.deepEqual((await collect(made.textStream)).filter(Boolean), ["one", " two", " three"]);
    assert.equal(await made.finishReason, "stop");
    assert.equal((await made.usage).outputTokens, 3);
  });

  test(`${kind}: length`, async () => {
    const made = await generateText({ model, prompt: "Reply with exactly: one two three", maxOutputTokens: 2 });
    assert.deepEqual([made.text, made.finishReason], ["one two", "length"]);
  });

  for (const prompt of ["Weather in 'Rome'?", BOTH]) {
    const wanted = `It came to: sun in Rome${prompt === BOTH ? "; sun in Oslo" : ""}`;
    test(`${kind}: tools, whole: ${prompt}`, async () => {
      const made = await generateText({ model, tools, prompt, stopWhen: stepCountIs(3) });
      assert.deepEqual([made.text, made.steps.length, made.steps[0].finishReason], [wanted, 2, "tool-calls"]);
    });
    test(`${kind}: tools, stream: ${prompt}`, async () => {
      const made = streamText({ model, tools, prompt, stopWhen: stepCountIs(3), ...quiet });
      assert.equal((await collect(made.textStream)).join(""), wanted);
      assert.equal((await made.steps)[0].finishReason, "tool-calls");
    });
  }

  test(`${kind}: a choice of tools`, async () => {
    for (const toolChoice of ["required", { type: "tool", toolName: "get_weather" }]) {
      const made = await generateText({ model, tools, toolChoice, prompt: "In 'Rome'" });
      assert.deepEqual(made.toolCalls.map((call) => call.input), [{ city: "Rome" }]);
    }
  });

  test(`${kind}: structured output`, async () => {
    const asked = { model, schema: Person, prompt: "I am 'Ada', age=36" };
    assert.deepEqual((await generateObject(asked)).object, ADA);
    const streamed = streamObject({ ...asked, ...quiet });
    assert.ok((await collect(streamed.partialObjectStream)).length > 1);
    assert.deepEqual(await streamed.object, ADA);
  });

  test(`${kind}: pictures`, async () => {
    const content = [{ type: "text", text: "What?" }, { type: "image", image: PIXEL, mediaType: "image/png" }];
    const made = await generateText({ model, messages: [{ role: "user", content }] });
    assert.equal(made.text, "You said: What? I see image/png.");
  });

  test(`${kind}: a second turn`, async () => {
    const first = await generateText({ model, tools, prompt: BOTH, stopWhen: stepCountIs(3) });
    const messages = [
      { role: "user", content: BOTH },
      ...first.response.messages,
      { role: "user", content: "Reply with exactly: yes" },
    ];
    assert.equal((await generateText({ model, messages })).text, "yes");
  });

  test(`${kind}: errors`, async () => {
    for (const [status, wanted] of [[400, 400], [429, 429], [500, 502]]) {
      const failed = await generateText({ model, prompt: `status=${status}`, maxRetries: 0 }).catch((error) => error);
      assert.ok(APICallError.isInstance(failed), String(failed));
      assert.equal(failed.statusCode, wanted);
      assert.match(failed.message, /trouble/);
    }
    const text = `status=429 times=1 wait=0.1 key=${randomUUID()} Reply with exactly: again`;
    assert.equal((await generateText({ model, prompt: text, maxRetries: 1 })).text, "again");
  });

  for (const order of ["break=3", "trouble=3"]) {
    test(`${kind}: a failure in a stream: ${order}`, async () => {
      const errors = [];
      const made = streamText({
        model,
        prompt: `${order} Reply with exactly: a b c d`,
        onError: ({ error }) => errors.push(error),
      });
      let text = "";
      try {
        for await (const part of made.fullStream) {
          if (part.type === "text-delta") text += part.text;
          if (part.type === "error") errors.push(part.error);
        }
      } catch (error) {
        errors.push(error); // the connection ends as it should not: nobody takes this for the whole answer
      }
      assert.equal(text, "a b");
      assert.ok(errors.length > 0);
      if (order === "trouble=3") assert.match(JSON.stringify(errors[0]) + errors[0], /flew away/);
    });
  }

  test(`${kind}: cancellation`, async () => {
    const key = randomUUID();
    const controller = new AbortController();
    const made = streamText({ model, prompt: `forever=${key}`, abortSignal: controller.signal, ...quiet });
    const reading = (async () => {
      for await (const _ of made.textStream) controller.abort();
    })().catch(() => {});
    await until("left", key);
    await reading;
  });
}

test("reasoning", async () => {
  const made = await generateText({ model: MODELS.compatible, prompt: "think, then reply with exactly: done" });
  assert.deepEqual([made.reasoningText, made.text], ["Let me see.", "done"]);
});

test("embeddings", async () => {
  for (const model of [compatible.textEmbeddingModel(MODEL), openai.textEmbeddingModel(MODEL)]) {
    const made = await embedMany({ model, values: ["one", "two"] });
    assert.deepEqual(made.embeddings.map((each) => each.length), [8, 8]);
  }
});

test("no such model", async () => {
  const failed = await generateText({ model: compatible("nobody"), prompt: "hi" }).catch((error) => error);
  assert.equal((RetryError.isInstance(failed) ? failed.lastError : failed).statusCode, 404);
});
