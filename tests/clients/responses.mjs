// SPDX-License-Identifier: Apache-2.0
// Scenarios with the responses of the official openai client.
import OpenAI from 'openai';
import { zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { play, url } from './play.mjs';

const client = new OpenAI({ baseURL: url + '/v1', apiKey: 'unused', maxRetries: 0, timeout: 30000 });
const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false };
const tools = [{ type: 'function', name: 'weather', description: 'd', parameters, strict: true }];
const input = [{ role: 'user', content: 'hello' }];
const finish = (r) => (r.status === 'completed' ? 'stop' : r.incomplete_details?.reason ?? r.status);
const calls = (r) => r.output.filter((i) => i.type === 'function_call').map((i) => [i.name, JSON.parse(i.arguments)]);

async function collect(stream) {
  const got = { text: '', finish: null, usage: null, types: [], error: null };
  try {
    for await (const event of stream) {
      got.types.push(event.type);
      if (event.type === 'response.output_text.delta') got.text += event.delta;
      if (event.type === 'response.completed' || event.type === 'response.incomplete') {
        got.finish = finish(event.response);
        got.usage = event.response.usage?.total_tokens;
      }
    }
  } catch (e) {
    got.error = `${e.constructor.name}: ${e.message}`;
  }
  return got;
}

await play({
  async whole(model) {
    const r = await client.responses.create({ model, input: 'hello', temperature: 0, store: false });
    return { text: r.output_text, finish: finish(r), usage: r.usage.total_tokens };
  },
  async stream(model) {
    return collect(await client.responses.create({ model, input, stream: true }));
  },
  async tools(model) {
    const first = await client.responses.create({ model, input, tools });
    const call = first.output.find((i) => i.type === 'function_call');
    const said = [...input, ...first.output, { type: 'function_call_output', call_id: call.call_id, output: 'sunny' }];
    return { calls: calls(first), text: (await client.responses.create({ model, input: said, tools })).output_text };
  },
  async toolstream(model) { // the helper puts the events together, and parses what they say
    const final = await client.responses.stream({ model, input, tools }).finalResponse();
    return { calls: calls(final), parsed: final.output.map((i) => i.parsed_arguments), finish: finish(final) };
  },
  async object(model) {
    const format = zodTextFormat(z.object({ city: z.string(), days: z.number() }), 'answer');
    return (await client.responses.parse({ model, input, text: { format } })).output_parsed;
  },
  async kept(model) {
    const refused = async (f) => { try { await f(); } catch (e) { return [e.status, e.param, e.constructor.name]; } };
    const { id } = await client.responses.create({ model, input });
    return [await refused(() => client.responses.create({ model, input, previous_response_id: id })),
      await refused(() => client.responses.retrieve(id)), await refused(() => client.responses.delete(id))];
  },
  async abort(model) {
    const stream = await client.responses.create({ model, input, stream: true });
    let text = '';
    try {
      for await (const event of stream) {
        text += event.type === 'response.output_text.delta' ? event.delta : '';
        if (text) stream.controller.abort();
      }
    } catch (e) {
      return { text, aborted: e.name };
    }
    return { text };
  },
});
