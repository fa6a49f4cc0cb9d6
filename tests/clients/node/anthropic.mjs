// Anthropic's SDK.

import Anthropic from "@anthropic-ai/sdk";
import { betaTool } from "@anthropic-ai/sdk/helpers/beta/json-schema";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { Place } from "./place.mjs";

export const ownError = (error) => error instanceof Anthropic.APIError;

export function connect({ root, key, model, maxRetries }) {
  const client = new Anthropic({ baseURL: root, apiKey: key, maxRetries });
  const { messages } = client;
  const asked = (content) => ({ model, max_tokens: 200, messages: [{ role: "user", content }] });

  async function send(body, stream) {
    if (!stream) return answer(await messages.create(body), 0);
    let pieces = 0;
    const events = messages.stream(body).on("text", () => pieces++);
    return answer(await events.finalMessage(), pieces);
  }

  return {
    text: ({ prompt, system, stream }) => send({ ...asked(prompt), system }, stream),

    image: ({ prompt, mime, data, stream }) => {
      const image = { type: "image", source: { type: "base64", media_type: mime, data } };
      return send(asked([image, { type: "text", text: prompt }]), stream);
    },

    // The runner begins with a message thread, which only Anthropic has; told that there is none, it sends everything.
    tools: async ({ prompt, tools, stream }) => {
      const ran = [];
      const runnable = tools.map(({ name, description, schema, output }) =>
        betaTool({ name, description, inputSchema: schema, run: (given) => (ran.push({ name, arguments: given }), output) }),
      );
      const native = await client.beta.messages.toolRunner({ ...asked(prompt), stream, tools: runnable });
      return { ran, text: texts(native) };
    },

    structured: async ({ prompt, stream }) => {
      const body = { ...asked(prompt), output_config: { format: zodOutputFormat(Place) } };
      const native = stream ? await messages.stream(body).finalMessage() : await messages.parse(body);
      return { value: native.parsed_output };
    },

    abort: async ({ prompt }) => {
      let pieces = 0;
      const events = messages.stream(asked(prompt));
      events.on("text", () => (pieces++, events.abort()));
      return events.finalMessage().then(
        () => ({ pieces, ended: "complete" }),
        (error) => ({ pieces, ended: error.constructor.name }),
      );
    },

    models: async () => {
      const ids = [];
      for await (const listed of client.models.list()) ids.push(listed.id);
      return { ids, one: (await client.models.retrieve(model)).id };
    },

    count: async ({ text }) => ({ tokens: (await messages.countTokens({ model, messages: asked(text).messages })).input_tokens }),
  };
}

const texts = (native) => native.content.flatMap((block) => (block.type === "text" ? [block.text] : [])).join("");

function answer(native, pieces) {
  const { input_tokens: input, output_tokens: output } = native.usage;
  const cached = native.usage.cache_read_input_tokens ?? 0;
  return { text: texts(native), finish: native.stop_reason, input: input + cached, output, pieces };
}
