// OpenAI's SDK with Chat Completions; embeddings and model lists, which it has once for both of its APIs.

import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { Place } from "./place.mjs";

export const ownError = (error) => error instanceof OpenAI.APIError;

export function connect({ root, key, model, maxRetries }) {
  const client = new OpenAI({ baseURL: root + "/v1", apiKey: key, maxRetries });
  const { completions } = client.chat;
  const asked = (content) => ({ model, messages: [{ role: "user", content }] });

  async function send(body, stream) {
    if (!stream) return answer(await completions.create(body), 0);
    let pieces = 0;
    const events = completions.stream({ ...body, stream_options: { include_usage: true } });
    events.on("content", () => pieces++);
    return answer(await events.finalChatCompletion(), pieces);
  }

  return {
    text: ({ prompt, system, stream }) => {
      const body = asked(prompt);
      if (system) body.messages.unshift({ role: "system", content: system });
      return send(body, stream);
    },

    image: ({ prompt, mime, data, stream }) => {
      const image = { type: "image_url", image_url: { url: `data:${mime};base64,${data}` } };
      return send(asked([{ type: "text", text: prompt }, image]), stream);
    },

    tools: async ({ prompt, tools, stream }) => {
      const ran = [];
      const runnable = tools.map(({ name, description, schema, output }) => ({
        type: "function",
        function: {
          name,
          description,
          parameters: schema,
          parse: JSON.parse,
          function: (given) => (ran.push({ name, arguments: given }), output),
        },
      }));
      const runner = completions.runTools({ ...asked(prompt), stream, tools: runnable });
      return { ran, text: await runner.finalContent() };
    },

    structured: async ({ prompt, stream }) => {
      const body = { ...asked(prompt), response_format: zodResponseFormat(Place, "place") };
      const native = stream ? await completions.stream(body).finalChatCompletion() : await completions.parse(body);
      return { value: native.choices[0].message.parsed };
    },

    abort: async ({ prompt }) => {
      let pieces = 0;
      const events = completions.stream(asked(prompt));
      events.on("content", () => (pieces++, events.abort()));
      return events.finalChatCompletion().then(
        () => ({ pieces, ended: "complete" }),
        (error) => ({ pieces, ended: error.constructor.name }),
      );
    },

    // The SDK asks for base64 and decodes it, unless it is told otherwise.
    embed: async ({ texts }) => {
      const { data, usage } = await client.embeddings.create({ model, input: texts });
      return { vectors: data.map((item) => item.embedding), tokens: usage.prompt_tokens };
    },

    models: async () => {
      const ids = [];
      for await (const listed of client.models.list()) ids.push(listed.id);
      return { ids, one: (await client.models.retrieve(model)).id };
    },
  };
}

function answer(native, pieces) {
  const { message, finish_reason: finish } = native.choices[0];
  const { prompt_tokens: input, completion_tokens: output } = native.usage;
  return { text: message.content, finish, input, output, pieces };
}
