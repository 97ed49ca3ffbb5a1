// Vercel's AI SDK at four doors.
import { generateText, streamText, generateObject, Output, tool, stepCountIs, embed } from "ai";
import { createOpenAI } from "@ai-sdk/openai";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { createRequire } from "node:module";
import { z } from "zod";

const root = process.env.DISPATCH_URL ?? "http://127.0.0.1:8080";
const apiKey = "sk-client";
const openai = createOpenAI({ baseURL: `${root}/v1`, apiKey });
const compatible = createOpenAICompatible({ name: "dispatch", baseURL: `${root}/v1`, apiKey, includeUsage: true, supportsStructuredOutputs: true });
const anthropic = createAnthropic({ baseURL: `${root}/v1`, apiKey });
const google = createGoogleGenerativeAI({ baseURL: `${root}/v1beta`, apiKey });
const makers = { chat: (name) => openai.chat(name), responses: (name) => openai.responses(name), compatible, messages: anthropic, generate: google };
const prompt = "What is the weather in Köln?";
const picture = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const schema = z.object({ city: z.string(), degrees: z.number() });
const weather = tool({ description: "Tells the weather", inputSchema: z.object({ city: z.string() }), execute: async ({ city }) => `sunny in ${city}` });
const check = (holds, shown) => { if (!holds) throw new Error(`unexpected: ${JSON.stringify(shown)}`); };

const tries = {
  async whole(make) {
    const { text, usage } = await generateText({ model: make("m"), prompt, maxRetries: 0 });
    check(text && usage.outputTokens > 0, { text, usage });
    return text;
  },
  async stream(make) {
    const pieces = [];
    for await (const piece of streamText({ model: make("m"), prompt, maxRetries: 0 }).textStream) pieces.push(piece);
    check(pieces.length > 1, pieces);
    return pieces.join("");
  },
  async tool(make) {
    const { steps } = await generateText({ model: make("m"), prompt, tools: { weather }, stopWhen: stepCountIs(3), maxRetries: 0 });
    check(steps.length === 2 && steps[0].toolResults[0].output.startsWith("sunny in"), steps);
    return steps[0].toolResults[0].output;
  },
  async tool_streamed(make) {
    const kinds = new Set();
    for await (const part of streamText({ model: make("m"), prompt, tools: { weather }, stopWhen: stepCountIs(3), maxRetries: 0 }).fullStream) kinds.add(part.type);
    check(kinds.has("tool-result") && kinds.has("text-delta") && !kinds.has("error"), [...kinds]);
    return [...kinds].join(" ");
  },
  async structured(make, door) {
    const name = door === "messages" ? "claude-sonnet-4-5" : "m";
    const { output } = await generateText({ model: make(name), prompt, output: Output.object({ schema }), maxRetries: 0 });
    return output.degrees;
  },
  async image(make) {
    const content = [{ type: "text", text: prompt }, { type: "image", image: picture, mediaType: "image/png" }];
    return (await generateText({ model: make("m"), messages: [{ role: "user", content }], maxRetries: 0 })).text;
  },
  async error(make) {
    try {
      await generateText({ model: make("broken"), prompt, maxRetries: 0 });
    } catch (failed) {
      check(failed.statusCode === 400, String(failed));
      return String(failed);
    }
    throw new Error("no error");
  },
};

const say = (line) => console.log(JSON.stringify(line));
say({ client: "ai", version: createRequire(import.meta.url)("ai/package.json").version });
for (const [door, make] of Object.entries(makers))
  for (const [name, run] of Object.entries(tries)) {
    const line = { try: `${door} ${name}` };
    try {
      say({ ...line, ok: true, shown: String(await run(make, door)).slice(0, 200) });
    } catch (error) {
      say({ ...line, ok: false, shown: `${error} ${error.responseBody ?? ""}`.slice(0, 600) });
    }
  }
