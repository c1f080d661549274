// SPDX-License-Identifier: Apache-2.0
// Scenarios with the openai client that every client has, and embeddings. openai.mjs has those of its own.
import OpenAI from 'openai';
import { play, url } from './play.mjs';

const client = new OpenAI({ baseURL: url + '/v1', apiKey: 'unused', maxRetries: 0, timeout: 30000 });
const messages = [{ role: 'user', content: 'hello' }];
const schema = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const tools = [{ type: 'function', function: { name: 'weather', description: 'd', parameters: schema } }];
const calls = (message) => (message.tool_calls ?? []).map((c) => [c.function.name, JSON.parse(c.function.arguments)]);

async function collect(stream) {
  const got = { text: '', finish: null, usage: null };
  try {
    for await (const chunk of stream) {
      got.text += chunk.choices[0]?.delta?.content ?? '';
      got.finish = chunk.choices[0]?.finish_reason ?? got.finish;
      got.usage = chunk.usage?.total_tokens ?? got.usage;
    }
  } catch (e) {
    got.error = e.message;
  }
  return got;
}

await play({
  async whole(model) {
    const r = await client.chat.completions.create({ model, messages, temperature: 0 });
    return { text: r.choices[0].message.content, finish: r.choices[0].finish_reason, usage: r.usage.total_tokens };
  },
  async stream(model) {
    return collect(await client.chat.completions.create({ model, messages, stream: true, stream_options: { include_usage: true } }));
  },
  async tools(model) {
    const first = (await client.chat.completions.create({ model, messages, tools })).choices[0].message;
    const result = { role: 'tool', tool_call_id: first.tool_calls[0].id, content: 'sunny' };
    const second = await client.chat.completions.create({ model, tools, messages: [...messages, first, result] });
    return { calls: calls(first), text: second.choices[0].message.content };
  },
  async toolstream(model) {
    return { calls: calls((await client.chat.completions.stream({ model, messages, tools }).finalChatCompletion()).choices[0].message) };
  },
  async object(model) {
    const response_format = { type: 'json_schema', json_schema: { name: 'a', schema } };
    return JSON.parse((await client.chat.completions.create({ model, messages, response_format })).choices[0].message.content);
  },
  async embed(model) {
    const one = await client.embeddings.create({ model, input: 'a' });
    const two = await client.embeddings.create({ model, input: ['a', 'bb'] });
    return [one, two].map((r) => r.data.map((d) => d.embedding));
  },
  async abort(model) {
    const stream = await client.chat.completions.create({ model, messages, stream: true });
    let text = '';
    try {
      for await (const chunk of stream) {
        text += chunk.choices[0]?.delta?.content ?? '';
        if (text) stream.controller.abort();
      }
    } catch (e) {
      return { text, aborted: e.name };
    }
    return { text };
  },
});
