// SPDX-License-Identifier: Apache-2.0
// Scenarios with ai and @ai-sdk/openai, which asks for responses.
import { createOpenAI } from '@ai-sdk/openai';
import { play, url } from './play.mjs';
import { scenarios } from './vercel_scenarios.mjs';

await play(scenarios(createOpenAI({ baseURL: url + '/v1', apiKey: 'unused' })));
