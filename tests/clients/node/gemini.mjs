// Google's SDK.

import { ApiError, GoogleGenAI } from "@google/genai";
import { z } from "zod";
import { Place } from "./place.mjs";

export const ownError = (error) => error instanceof ApiError;

export function connect({ root, key, model }) {
  const { models } = new GoogleGenAI({ apiKey: key, httpOptions: { baseUrl: root } });

  // What a stream brings, as one answer.
  async function send(contents, config, stream) {
    if (!stream) {
      const native = await models.generateContent({ model, contents, config });
      return answer(native, native.text, 0);
    }
    let [text, pieces, last] = ["", 0, undefined];
    for await (const chunk of await models.generateContentStream({ model, contents, config })) {
      text += chunk.text ?? "";
      pieces += chunk.text ? 1 : 0;
      last = chunk;
    }
    return answer(last, text, pieces);
  }

  return {
    text: ({ prompt, system, stream }) => send(prompt, { systemInstruction: system }, stream),

    image: ({ prompt, mime, data, stream }) => send([{ inlineData: { mimeType: mime, data } }, prompt], {}, stream),

    // Its own loop, for tools that can be called.
    tools: async ({ prompt, tools, stream }) => {
      const ran = [];
      const declared = tools.map(({ name, description, schema }) => ({ name, description, parametersJsonSchema: schema }));
      const outputs = Object.fromEntries(tools.map(({ name, output }) => [name, output]));
      const callable = {
        tool: async () => ({ functionDeclarations: declared }),
        callTool: async (calls) =>
          calls.map(({ id, name, args }) => {
            ran.push({ name, arguments: args });
            return { functionResponse: { id, name, response: { output: outputs[name] } } };
          }),
      };
      const { text } = await send(prompt, { tools: [callable] }, stream);
      return { ran, text };
    },

    structured: async ({ prompt, stream }) => {
      const config = { responseMimeType: "application/json", responseJsonSchema: z.toJSONSchema(Place) };
      const { text } = await send(prompt, config, stream);
      return { value: Place.parse(JSON.parse(text)) };
    },

    abort: async ({ prompt }) => {
      const stop = new AbortController();
      let pieces = 0;
      try {
        const config = { abortSignal: stop.signal };
        for await (const chunk of await models.generateContentStream({ model, contents: prompt, config })) {
          pieces += chunk.text ? 1 : 0;
          stop.abort();
        }
      } catch (error) {
        return { pieces, ended: error.name };
      }
      return { pieces, ended: "complete" };
    },

    embed: async ({ texts }) => {
      const { embeddings } = await models.embedContent({ model, contents: texts });
      return { vectors: embeddings.map((item) => item.values) };
    },

    models: async () => {
      const ids = [];
      for await (const listed of await models.list()) ids.push(listed.name.replace("models/", ""));
      return { ids, one: (await models.get({ model })).name.replace("models/", "") };
    },

    count: async ({ text }) => ({ tokens: (await models.countTokens({ model, contents: text })).totalTokens }),
  };
}

function answer(native, text, pieces) {
  const { promptTokenCount: input, candidatesTokenCount: output } = native.usageMetadata;
  return { text, finish: native.candidates[0].finishReason, input, output, pieces };
}
