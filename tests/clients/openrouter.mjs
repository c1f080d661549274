// SPDX-License-Identifier: Apache-2.0
// Scenarios with @openrouter/sdk, which checks every answer against its schema.
import { OpenRouter } from '@openrouter/sdk';
import { play, url } from './play.mjs';

const client = new OpenRouter({ apiKey: 'unused', serverURL: url + '/v1', retryConfig: { strategy: 'none' } });
const messages = [{ role: 'user', content: 'hello' }];
const tools = [{ type: 'function', function: { name: 'weather', parameters: { type: 'object' } } }];
const ask = (model, more) => client.chat.send({ chatRequest: { model, messages, ...more } });
const calls = (message) => (message.toolCalls ?? []).map((c) => [c.function.name, JSON.parse(c.function.arguments)]);

async function collect(stream) {
  const got = { text: '', finish: null, usage: null, called: '', chunks: 0 };
  try {
    for await (const chunk of stream) {
      const choice = chunk.choices[0];
      got.chunks++;
      got.text += choice?.delta.content ?? '';
      got.called += (choice?.delta.toolCalls ?? []).map((c) => (c.function?.name ?? '') + (c.function?.arguments ?? '')).join('');
      got.finish = choice?.finishReason ?? got.finish;
      got.usage = chunk.usage?.totalTokens ?? got.usage;
    }
  } catch (e) {
    got.error = `${e.name}: ${e.message}`;
  }
  return got;
}

await play({
  async whole(model) {
    const r = await ask(model, { temperature: 0 });
    return { text: r.choices[0].message.content, finish: r.choices[0].finishReason, usage: r.usage.totalTokens };
  },
  async stream(model) {
    return collect(await ask(model, { stream: true, streamOptions: { includeUsage: true } }));
  },
  async tools(model) {
    const first = (await ask(model, { tools })).choices[0].message;
    const second = await ask(model, { tools, messages: [...messages, first,
      { role: 'tool', toolCallId: first.toolCalls[0].id, content: 'sunny' }] });
    return { calls: calls(first), text: second.choices[0].message.content };
  },
  async toolstream(model) {
    return collect(await ask(model, { tools, stream: true }));
  },
  async object(model) {
    const responseFormat = { type: 'json_schema', jsonSchema: { name: 'a', schema: { type: 'object' } } };
    return JSON.parse((await ask(model, { responseFormat })).choices[0].message.content);
  },
  async embed(model) {
    const one = await client.embeddings.generate({ requestBody: { model, input: 'a' } });
    const two = await client.embeddings.generate({ requestBody: { model, input: ['a', 'bb'] } });
    return [one, two].map((r) => r.data.map((d) => d.embedding));
  },
});
