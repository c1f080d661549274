// SPDX-License-Identifier: Apache-2.0
// Scenarios with @google/genai.
import { GoogleGenAI, Type } from '@google/genai';
import { play, url } from './play.mjs';

const ai = new GoogleGenAI({ apiKey: 'unused', httpOptions: { baseUrl: url } });
const contents = 'hello';
const parameters = { type: Type.OBJECT, properties: { city: { type: Type.STRING } }, required: ['city'] };
const config = { tools: [{ functionDeclarations: [{ name: 'weather', description: 'd', parameters }] }] };
const calls = (r) => (r.functionCalls ?? []).map((c) => [c.name, c.args]);

async function collect(stream) {
  const got = { text: '', finish: null, usage: null, calls: [], chunks: 0 };
  try {
    for await (const chunk of stream) {
      got.chunks++;
      got.text += chunk.text ?? '';
      got.calls.push(...calls(chunk));
      got.finish = chunk.candidates?.[0]?.finishReason ?? got.finish;
      got.usage = chunk.usageMetadata?.totalTokenCount ?? got.usage;
    }
  } catch (e) {
    got.error = { name: e.name, status: e.status, message: e.message };
  }
  return got;
}

await play({
  async whole(model) {
    const r = await ai.models.generateContent({ model, contents, config: { temperature: 0, systemInstruction: 'be brief' } });
    return { text: r.text, finish: r.candidates[0].finishReason, usage: r.usageMetadata.totalTokenCount, served: r.modelVersion };
  },
  async stream(model) {
    return collect(await ai.models.generateContentStream({ model, contents }));
  },
  async tools(model) { // what was called goes back with its result
    const first = await ai.models.generateContent({ model, contents, config });
    const response = { name: 'weather', response: { output: 'sunny' } };
    const second = await ai.models.generateContent({ model, config, contents: [
      { role: 'user', parts: [{ text: contents }] }, first.candidates[0].content,
      { role: 'user', parts: [{ functionResponse: response }] }] });
    return { calls: calls(first), text: second.text };
  },
  async toolstream(model) {
    return collect(await ai.models.generateContentStream({ model, contents, config }));
  },
  async object(model) {
    const r = await ai.models.generateContent({ model, contents, config: {
      responseMimeType: 'application/json', responseSchema: parameters } });
    return JSON.parse(r.text);
  },
  async chat(model) {
    const chat = ai.chats.create({ model });
    const first = await chat.sendMessage({ message: 'one' }), second = await chat.sendMessage({ message: 'two' });
    return { texts: [first.text, second.text], turns: chat.getHistory().length };
  },
  async count(model) {
    return (await ai.models.countTokens({ model, contents: 'x'.repeat(40) })).totalTokens;
  },
  async models(model) {
    const names = [];
    for await (const one of await ai.models.list({ config: { pageSize: 2 } })) names.push(one.name);
    return { names, one: await ai.models.get({ model }) };
  },
  async embed(model) {
    const one = await ai.models.embedContent({ model, contents: 'a' });
    const two = await ai.models.embedContent({ model, contents: ['a', 'bb'] });
    return [one, two].map((r) => r.embeddings.map((e) => e.values));
  },
  async abort(model) {
    const controller = new AbortController();
    let text = '';
    try {
      for await (const chunk of await ai.models.generateContentStream({ model, contents, config: { abortSignal: controller.signal } })) {
        text += chunk.text ?? '';
        controller.abort();
      }
    } catch (e) {
      return { text, aborted: e.name };
    }
    return { text };
  },
});
