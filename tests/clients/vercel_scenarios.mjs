// SPDX-License-Identifier: Apache-2.0
// Scenarios with ai, for any provider of its models.
import { embed, embedMany, generateText, jsonSchema, Output, stepCountIs, streamText, tool } from 'ai';

const schema = jsonSchema({ type: 'object', properties: { city: { type: 'string' }, days: { type: 'number' } },
  required: ['city'], additionalProperties: false });
const tools = { weather: tool({ description: 'd', inputSchema: schema, execute: async ({ city }) => `sunny in ${city}` }) };
const calls = (steps) => steps.flatMap((s) => s.toolCalls.map((c) => [c.toolName, c.input]));

async function collect(result) {
  const got = { text: '', kinds: new Set(), error: null };
  for await (const part of result.fullStream ?? result.stream) {
    got.kinds.add(part.type);
    if (part.type === 'text-delta') got.text += part.text;
    if (part.type === 'error') got.error = String(part.error?.message ?? part.error);
  }
  return { ...got, kinds: [...got.kinds] };
}

export function scenarios(provider) {
  const base = (model) => ({ model: provider(model), prompt: 'hello', maxRetries: 0 });
  return {
    async whole(model) {
      const r = await generateText({ ...base(model), temperature: 0 });
      return { text: r.text, finish: r.finishReason, usage: r.usage.totalTokens };
    },
    async stream(model) {
      const r = streamText(base(model)), got = await collect(r);
      return { ...got, finish: await r.finishReason, usage: (await r.usage).totalTokens };
    },
    async tools(model) {
      const r = await generateText({ ...base(model), tools, stopWhen: stepCountIs(3) });
      return { calls: calls(r.steps), text: r.text, steps: r.steps.length };
    },
    async toolstream(model) {
      const r = streamText({ ...base(model), tools, stopWhen: stepCountIs(3) }), got = await collect(r);
      return { calls: calls(await r.steps), text: got.text, steps: (await r.steps).length };
    },
    async object(model) {
      return (await generateText({ ...base(model), output: Output.object({ schema }) })).output;
    },
    async broken(model) {
      return collect(streamText({ ...base(model), onError() {} }));
    },
    async embed(model) {
      const embedding = provider.embeddingModel(model);
      return [[(await embed({ model: embedding, value: 'a' })).embedding],
        (await embedMany({ model: embedding, values: ['a', 'bb'] })).embeddings];
    },
    async abort(model) {
      const controller = new AbortController();
      let text = '';
      for await (const piece of streamText({ ...base(model), abortSignal: controller.signal, onError() {} }).textStream) {
        text += piece;
        controller.abort();
      }
      return { text };
    },
  };
}
