// Drives SDKs of Node for tests in Python: a case per line of stdin, its outcome per line of stdout, both as JSON.
//
// A case is {sdk, root, key, model, act, ...arguments}, and `maxRetries` if a failed call is to be repeated. Its outcome is what
// the SDK's own types made of the answer, or {error: {name, status, message, own}}, where `own` says that the error is of the
// class that the SDK documents. The act "acts" is answered with the names of all others.

import console from "node:console";
import readline from "node:readline";

// Stdout belongs to the outcomes; what SDKs tell people goes to stderr.
globalThis.console = new console.Console(process.stderr);
globalThis.AI_SDK_LOG_WARNINGS = false;

const sdks = {
  "openai-chat": "./openai-chat.mjs",
  "openai-responses": "./openai-responses.mjs",
  anthropic: "./anthropic.mjs",
  gemini: "./gemini.mjs",
  "ai-chat": "./vercel.mjs",
  "ai-responses": "./vercel.mjs",
  "ai-compatible": "./vercel.mjs",
  "ai-anthropic": "./vercel.mjs",
  "ai-google": "./vercel.mjs",
};

async function outcome({ sdk, root, key, model, act, maxRetries = 0, ...given }) {
  const { connect, ownError } = await import(sdks[sdk]);
  const driver = connect({ sdk, root, key, model, maxRetries });
  if (act === "acts") return Object.keys(driver);
  try {
    return await driver[act](given);
  } catch (error) {
    const status = error.status ?? error.statusCode;
    const words = error.message || String(error);
    return { error: { name: error.constructor.name, status, message: words, own: ownError(error) } };
  }
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(await outcome(JSON.parse(line))) + "\n");
}
