// SPDX-License-Identifier: Apache-2.0
// One scenario with the official Anthropic client: node anthropic.mjs BASE_URL SCENARIO MODEL. Prints what it saw as JSON.
import Anthropic, { APIError, BadRequestError, InternalServerError, NotFoundError, RateLimitError } from '@anthropic-ai/sdk';

const [, , baseURL, scenario, model] = process.argv;
const client = new Anthropic({ baseURL, apiKey: 'unused', maxRetries: 0, timeout: 30000 });
const messages = [{ role: 'user', content: 'hello' }];
const base = { model, max_tokens: 100, messages };
const tools = [{ name: 'f', description: 'd', input_schema: { type: 'object' } }];
const kinds = { APIError, BadRequestError, InternalServerError, NotFoundError, RateLimitError };
const failure = (e) => ({
  kinds: Object.keys(kinds).filter((k) => e instanceof kinds[k]), status: e.status, error: e.error, requestID: e.requestID });
const said = (m) => ({ blocks: m.content.map((b) => b.type), text: m.content.map((b) => b.text ?? '').join(''),
  thinking: m.content.map((b) => b.thinking ?? '').join(''), stop: m.stop_reason, usage: m.usage,
  calls: m.content.filter((b) => b.type === 'tool_use').map((b) => [b.name, b.input]) });

const scenarios = {
  async whole() {
    const { data, response } = await client.messages.create(base).withResponse();
    return { ...said(data), headers: Object.fromEntries(response.headers) };
  },
  async events() {
    const types = [];
    for await (const e of await client.messages.create({ ...base, stream: true })) types.push(e.type);
    return types;
  },
  async stream() { // the helper's accumulator is stricter than the iterator
    const blocks = [];
    const stream = client.messages.stream({ ...base, tools });
    stream.on('contentBlock', (b) => blocks.push(b.type));
    const final = await stream.finalMessage();
    return { ...said(final), finished: blocks };
  },
  async turn() { // what the model said goes back to it, with the result of its tool
    const first = await client.messages.stream({ ...base, tools }).finalMessage();
    const call = first.content.find((b) => b.type === 'tool_use');
    const second = await client.messages.create({ ...base, tools, messages: [
      ...messages, { role: 'assistant', content: first.content },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: call.id, content: '42' }] }] });
    return said(second);
  },
  async broken() {
    let text = '';
    try {
      for await (const e of await client.messages.create({ ...base, stream: true })) text += e.delta?.text ?? '';
    } catch (e) {
      return { text, ...failure(e) };
    }
    return { text, none: true };
  },
  async error() {
    try {
      await client.messages.create(base);
    } catch (e) {
      return failure(e);
    }
    return { none: true };
  },
};

console.log(JSON.stringify(await scenarios[scenario]()));
process.exit(0);
