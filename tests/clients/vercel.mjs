// SPDX-License-Identifier: Apache-2.0
// Scenarios with ai and @ai-sdk/openai-compatible.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { play, url } from './play.mjs';
import { scenarios } from './vercel_scenarios.mjs';

await play(scenarios(createOpenAICompatible({ name: 'muster', baseURL: url + '/v1', apiKey: 'unused', includeUsage: true,
  supportsStructuredOutputs: true })));
