// SPDX-License-Identifier: Apache-2.0
// Scenarios with the ollama client.
import { Ollama } from 'ollama';
import { play, url } from './play.mjs';

const client = new Ollama({ host: url });
const messages = [{ role: 'user', content: 'hello' }];
const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const tools = [{ type: 'function', function: { name: 'weather', description: 'd', parameters } }];
const calls = (message) => (message.tool_calls ?? []).map((c) => [c.function.name, c.function.arguments]);
const tokens = (r) => r.prompt_eval_count + r.eval_count;
const PIXEL = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

async function collect(stream) {
  const got = { text: '', finish: null, usage: null, calls: [], chunks: 0 };
  try {
    for await (const part of stream) {
      got.chunks++;
      got.text += part.message.content;
      got.calls.push(...calls(part.message));
      if (part.done) Object.assign(got, { finish: part.done_reason, usage: tokens(part) });
    }
  } catch (e) {
    got.error = { name: e.name, message: e.message };
  }
  return got;
}

await play({
  async whole(model) {
    const r = await client.chat({ model, messages, options: { temperature: 0 } });
    return { text: r.message.content, finish: r.done_reason, usage: tokens(r), served: r.model };
  },
  async stream(model) {
    return collect(await client.chat({ model, messages, stream: true }));
  },
  async tools(model) { // what was called goes back with its result
    const first = await client.chat({ model, messages, tools });
    const second = await client.chat({ model, tools, messages: [
      ...messages, first.message, { role: 'tool', content: 'sunny', tool_name: 'weather' }] });
    return { calls: calls(first.message), text: second.message.content };
  },
  async toolstream(model) {
    return collect(await client.chat({ model, messages, tools, stream: true }));
  },
  async object(model) {
    return JSON.parse((await client.chat({ model, messages, format: parameters })).message.content);
  },
  async embed(model) {
    const one = await client.embed({ model, input: 'a' }), two = await client.embed({ model, input: ['a', 'bb'] });
    return [one.embeddings, two.embeddings];
  },
  async generate(model) {
    const r = await client.generate({ model, prompt: 'hello', system: 'be brief' });
    let streamed = '';
    for await (const part of await client.generate({ model, prompt: 'hello', stream: true })) streamed += part.response;
    return { text: r.response, streamed, reason: r.done_reason, tokens: tokens(r) };
  },
  async fill(model) {
    return (await client.generate({ model, prompt: 'a', suffix: 'b' })).response;
  },
  async image(model) {
    const images = [Uint8Array.from(atob(PIXEL), (c) => c.charCodeAt(0))];
    return (await client.chat({ model, messages: [{ role: 'user', content: 'look', images }] })).message.content;
  },
  async models(model) {
    const shown = await client.show({ model });
    return { names: (await client.list()).models.map((m) => m.name), running: (await client.ps()).models.map((m) => m.name),
      can: shown.capabilities, modified: !Number.isNaN(Date.parse(shown.modified_at)), version: (await client.version()).version };
  },
  async load(model) {
    const loaded = await client.generate({ model, prompt: '' });
    return [loaded.done_reason, (await client.generate({ model, prompt: '', keep_alive: 0 })).done_reason];
  },
  async missing(model) {
    return client.show({ model });
  },
  async abort(model) {
    let text = '';
    try {
      const stream = await client.chat({ model, messages, stream: true });
      for await (const part of stream) {
        text += part.message.content;
        stream.abort();
      }
    } catch (e) {
      return { text, aborted: e.name };
    }
    return { text };
  },
});
