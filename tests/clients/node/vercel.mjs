// Vercel's `ai` with its provider packages: one surface, five ways to ask.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogle } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { AISDKError, embedMany, generateText, isStepCount, jsonSchema, Output, streamText, tool } from "ai";
import { Place } from "./place.mjs";

const providers = {
  "ai-chat": (root, apiKey) => createOpenAI({ baseURL: root + "/v1", apiKey }),
  "ai-responses": (root, apiKey) => createOpenAI({ baseURL: root + "/v1", apiKey }),
  "ai-compatible": (root, apiKey) =>
    // Without these two it asks for no usage in streams, and for JSON of any shape.
    createOpenAICompatible({
      name: "routeapi",
      baseURL: root + "/v1",
      apiKey,
      includeUsage: true,
      supportsStructuredOutputs: true,
    }),
  "ai-anthropic": (root, apiKey) => createAnthropic({ baseURL: root + "/v1", apiKey }),
  "ai-google": (root, apiKey) => createGoogle({ baseURL: root + "/v1beta", apiKey }),
};

export const ownError = (error) => AISDKError.isInstance(error);

export function connect({ sdk, root, key, model: id, maxRetries }) {
  const provider = providers[sdk](root, key);
  const model = sdk === "ai-chat" ? provider.chat(id) : provider.languageModel(id);
  // Unless it is told that nothing is stored, it refers to words of earlier answers by their IDs.
  const unstored = sdk === "ai-responses" ? { openai: { store: false } } : undefined;

  async function send(options, stream, seen = () => {}) {
    options = { model, maxRetries, providerOptions: unstored, ...options };
    if (!stream) return answer(await generateText(options), 0);
    let pieces = 0;
    const result = streamText({ ...options, onError: () => {} });
    for await (const part of result.stream) {
      if (part.type === "error") throw part.error;
      if (part.type === "text-delta") seen(++pieces);
      if (part.type === "abort") return { pieces, ended: "abort" };
    }
    const names = ["text", "finishReason", "usage", "output"];
    const [text, finishReason, usage, output] = await Promise.all(names.map((name) => result[name]));
    return answer({ text, finishReason, usage, output }, pieces);
  }

  const driver = {
    text: ({ prompt, system, stream }) => send({ prompt, instructions: system }, stream),

    image: ({ prompt, mime, data, stream }) => {
      const content = [
        { type: "file", mediaType: mime, data },
        { type: "text", text: prompt },
      ];
      return send({ messages: [{ role: "user", content }] }, stream);
    },

    tools: async ({ prompt, tools, stream }) => {
      const ran = [];
      const runnable = tools.map(({ name, description, schema, output }) => {
        const execute = async (given) => (ran.push({ name, arguments: given }), output);
        return [name, tool({ description, inputSchema: jsonSchema(schema), execute })];
      });
      const options = { prompt, tools: Object.fromEntries(runnable), stopWhen: isStepCount(3) };
      const { text } = await send(options, stream);
      return { ran, text };
    },

    // A conversation of two turns; `stored` leaves it to the SDK what the second says of the first.
    turns: async ({ prompts, stored }) => {
      const providerOptions = stored ? undefined : unstored;
      const [first, second] = prompts.map((content) => ({ role: "user", content }));
      const { responseMessages } = await generateText({ model, maxRetries, providerOptions, messages: [first] });
      return send({ providerOptions, messages: [first, ...responseMessages, second] }, false);
    },

    structured: async ({ prompt, stream }) => {
      const { value } = await send({ prompt, output: Output.object({ schema: Place }) }, stream);
      return { value };
    },

    abort: ({ prompt }) => {
      const stop = new AbortController();
      return send({ prompt, abortSignal: stop.signal }, true, () => stop.abort());
    },

    embed: async ({ texts }) => {
      const { embeddings, usage } = await embedMany({ model: provider.embeddingModel(id), values: texts, maxRetries });
      return { vectors: embeddings, tokens: usage.tokens };
    },
  };
  // Anthropic has no embeddings: the provider has no model for them.
  if (sdk === "ai-anthropic") delete driver.embed;
  return driver;
}

function answer({ text, finishReason, usage, output }, pieces) {
  const { inputTokens: input, outputTokens } = usage;
  return { text, finish: finishReason, input, output: outputTokens, value: output, pieces };
}
