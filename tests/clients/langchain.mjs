// SPDX-License-Identifier: Apache-2.0
// Scenarios with @langchain/openai.
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai';
import { HumanMessage, ToolMessage } from '@langchain/core/messages';
import { play, url } from './play.mjs';

const configuration = { baseURL: url + '/v1' };
const chat = (model, more) => new ChatOpenAI({ model, apiKey: 'unused', maxRetries: 0, configuration, ...more });
const schema = { title: 'answer', type: 'object', properties: { city: { type: 'string' }, days: { type: 'number' } }, required: ['city'] };
const tools = [{ type: 'function', function: { name: 'weather', description: 'd', parameters: schema } }];
const calls = (message) => message.tool_calls.map((c) => [c.name, c.args]);

async function collect(stream) {
  let whole = null, chunks = 0;
  for await (const chunk of await stream) {
    whole = whole ? whole.concat(chunk) : chunk;
    chunks++;
  }
  return { text: whole.content, calls: calls(whole), chunks, usage: whole.usage_metadata?.total_tokens,
    finish: whole.response_metadata.finish_reason };
}

await play({
  async whole(model) {
    const r = await chat(model, { temperature: 0 }).invoke('hello');
    return { text: r.content, usage: r.usage_metadata.total_tokens, finish: r.response_metadata.finish_reason };
  },
  async stream(model) {
    return collect(chat(model).stream('hello'));
  },
  async tools(model) {
    const bound = chat(model).bindTools(tools), hello = new HumanMessage('hello'), first = await bound.invoke([hello]);
    const result = new ToolMessage({ content: 'sunny', tool_call_id: first.tool_calls[0].id });
    return { calls: calls(first), text: (await bound.invoke([hello, first, result])).content };
  },
  async toolstream(model) {
    return collect(chat(model).bindTools(tools).stream('hello'));
  },
  async object(model) {
    return chat(model).withStructuredOutput(schema, { method: 'jsonSchema' }).invoke('hello');
  },
  async called(model) { // the same by way of a tool
    return chat(model).withStructuredOutput(schema, { method: 'functionCalling', name: 'answer' }).invoke('hello');
  },
  async respond(model) { // by way of /v1/responses
    const asking = chat(model, { useResponsesApi: true, zdrEnabled: true }), bound = asking.bindTools(tools);
    const hello = new HumanMessage('hello'), first = await bound.invoke([hello]);
    const result = new ToolMessage({ content: 'sunny', tool_call_id: first.tool_calls[0].id });
    let streamed = '';
    for await (const chunk of await asking.stream('hello')) streamed += chunk.text;
    return { calls: calls(first), text: (await bound.invoke([hello, first, result])).text, streamed };
  },
  async embed(model) {
    const embeddings = new OpenAIEmbeddings({ model, apiKey: 'unused', maxRetries: 0, configuration });
    return [[await embeddings.embedQuery('a')], await embeddings.embedDocuments(['a', 'bb'])];
  },
  async abort(model) {
    const controller = new AbortController();
    let text = '';
    try {
      for await (const chunk of await chat(model).stream('hello', { signal: controller.signal })) {
        text += chunk.content;
        if (text) controller.abort();
      }
    } catch (e) {
      return { text, aborted: e.name };
    }
    return { text };
  },
});
