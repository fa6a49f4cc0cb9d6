// OpenAI's SDK with Responses. Nothing is stored: whoever asks sends the whole conversation.

import OpenAI from "openai";
import { ResponsesToolRunner } from "openai/helpers/responses-tool-runner";
import { zodTextFormat } from "openai/helpers/zod";
import { Place } from "./place.mjs";

export const ownError = (error) => error instanceof OpenAI.APIError;

export function connect({ root, key, model, maxRetries }) {
  const client = new OpenAI({ baseURL: root + "/v1", apiKey: key, maxRetries });
  const asked = (content) => ({ model, store: false, input: [{ role: "user", content }] });

  async function send(body, stream) {
    if (!stream) return answer(await client.responses.create(body), 0);
    let pieces = 0;
    const events = client.responses.stream(body);
    events.on("response.output_text.delta", () => pieces++);
    return answer(await events.finalResponse(), pieces);
  }

  return {
    text: ({ prompt, system, stream }) => send({ ...asked(prompt), instructions: system }, stream),

    image: ({ prompt, mime, data, stream }) => {
      const image = { type: "input_image", image_url: `data:${mime};base64,${data}`, detail: "auto" };
      return send(asked([{ type: "input_text", text: prompt }, image]), stream);
    },

    tools: async ({ prompt, tools, stream }) => {
      const ran = [];
      const functions = tools.map(({ name, description, schema, output }) => ({
        tool: { type: "function", name, description, parameters: schema, strict: false },
        execute: (given) => (ran.push({ name, arguments: given }), output),
      }));
      const runner = new ResponsesToolRunner({ functions });
      const native = await runner.run(client, asked(prompt), { stream });
      return { ran, text: native.output_text };
    },

    structured: async ({ prompt, stream }) => {
      const body = { ...asked(prompt), text: { format: zodTextFormat(Place, "place") } };
      const native = stream ? await client.responses.stream(body).finalResponse() : await client.responses.parse(body);
      return { value: native.output_parsed };
    },

    abort: async ({ prompt }) => {
      let pieces = 0;
      const events = client.responses.stream(asked(prompt));
      events.on("response.output_text.delta", () => (pieces++, events.abort()));
      return events.finalResponse().then(
        () => ({ pieces, ended: "complete" }),
        (error) => ({ pieces, ended: error.constructor.name }),
      );
    },

    count: async ({ text }) => ({ tokens: (await client.responses.inputTokens.count({ model, input: text })).input_tokens }),
  };
}

function answer(native, pieces) {
  const { output_text: text, status: finish, usage, error: failure } = native;
  return { text, finish, failure, input: usage?.input_tokens, output: usage?.output_tokens, pieces };
}
