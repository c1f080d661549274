// SPDX-License-Identifier: Apache-2.0
// One scenario with the official openai client: node openai.mjs BASE_URL SCENARIO MODEL. Prints what it saw as JSON.
import OpenAI, { APIError, APIUserAbortError, BadRequestError, InternalServerError, NotFoundError, RateLimitError } from 'openai';

const [, , baseURL, scenario, model] = process.argv;
const client = new OpenAI({ baseURL, apiKey: 'unused', maxRetries: 0, timeout: 30000 });
const messages = [{ role: 'user', content: 'hello' }];
const kinds = { APIError, BadRequestError, InternalServerError, NotFoundError, RateLimitError };
const failure = (e) => ({
  kinds: Object.keys(kinds).filter((k) => e instanceof kinds[k]), status: e.status, message: e.message, code: e.code,
  param: e.param, type: e.type, requestID: e.requestID,
});

async function collect(stream) {
  const got = { text: '', finish: null, usage: null, chunks: 0, objects: new Set(), error: null };
  try {
    for await (const chunk of stream) {
      got.chunks++;
      got.objects.add(chunk.object);
      got.text += chunk.choices[0]?.delta?.content ?? '';
      got.finish = chunk.choices[0]?.finish_reason ?? got.finish;
      got.usage = chunk.usage ?? got.usage;
    }
  } catch (e) {
    got.error = failure(e);
  }
  return { ...got, objects: [...got.objects] };
}

const scenarios = {
  async whole() {
    const { data, response } = await client.chat.completions.create({ model, messages, temperature: 0 }).withResponse();
    return { answer: data, headers: Object.fromEntries(response.headers) };
  },
  async stream() {
    return collect(await client.chat.completions.create({ model, messages, stream: true }));
  },
  async usage() {
    return collect(await client.chat.completions.create({ model, messages, stream: true, stream_options: { include_usage: true } }));
  },
  async helper() { // the client's own accumulator is stricter than its iterator
    const runner = client.chat.completions.stream({ model, messages });
    const final = await runner.finalChatCompletion();
    return { text: final.choices[0].message.content, finish: final.choices[0].finish_reason };
  },
  async tools() {
    const answer = await client.chat.completions.create({
      model, messages, tools: [{ type: 'function', function: { name: 'f', parameters: { type: 'object' } } }] });
    return answer.choices[0].message;
  },
  async toolstream() { // the helper puts streamed calls together, and parses their arguments
    const runner = client.chat.completions.stream({
      model, messages, tools: [{ type: 'function', function: { name: 'f', parameters: { type: 'object' } } }] });
    const final = await runner.finalChatCompletion();
    const choice = final.choices[0];
    return { text: choice.message.content, finish: choice.finish_reason,
      calls: (choice.message.tool_calls ?? []).map((c) => [c.function.name, JSON.parse(c.function.arguments)]) };
  },
  async embed() { // it asks for base64, and makes numbers of it by itself
    const one = await client.embeddings.create({ model, input: 'the north gate' });
    const two = await client.embeddings.create({ model, input: ['a', 'b'], encoding_format: 'float', dimensions: 2 });
    return { one, two };
  },
  async complete() {
    const whole = await client.completions.create({ model, prompt: 'Once upon', max_tokens: 9 });
    let text = '', finish = null;
    for await (const chunk of await client.completions.create({ model, prompt: 'Once upon', stream: true })) {
      text += chunk.choices[0]?.text ?? '';
      finish = chunk.choices[0]?.finish_reason ?? finish;
    }
    return { whole, text, finish };
  },
  async models() {
    const ids = [];
    for await (const m of client.models.list()) ids.push(m.id);
    return { ids, one: await client.models.retrieve(ids[0]) };
  },
  async abort() {
    const stream = await client.chat.completions.create({ model, messages, stream: true });
    let text = '';
    try {
      for await (const chunk of stream) {
        text += chunk.choices[0]?.delta?.content ?? '';
        if (text) stream.controller.abort();
      }
    } catch (e) {
      return { text, aborted: e instanceof APIUserAbortError };
    }
    return { text, aborted: true };
  },
  async error() {
    const body = model === 'bad' ? { model: 'sdk', messages: [] } : { model, messages };
    try {
      await client.chat.completions.create(body);
    } catch (e) {
      return failure(e);
    }
    return { none: true };
  },
  async parallel() {
    return Promise.all(Array.from({ length: 16 }, async (_, i) => collect(
      await client.chat.completions.create({ model, messages: [{ role: 'user', content: `number ${i}` }], stream: true }))));
  },
};

console.log(JSON.stringify(await scenarios[scenario]()));
process.exit(0);
