// SPDX-License-Identifier: Apache-2.0
// Plays the scenarios of a client: node CLIENT.mjs URL JOBS, where JOBS is a list of [name, scenario, model]. Prints what each
// saw as one JSON object; a scenario that throws has seen {threw}.
export async function play(scenarios) {
  const jobs = JSON.parse(process.argv[3]), seen = {};
  for (const [name, scenario, model] of jobs) {
    try {
      seen[name] = await scenarios[scenario](model);
    } catch (e) {
      seen[name] = { threw: `${e?.name}: ${e?.message}`, status: e?.status ?? e?.statusCode ?? e?.status_code ?? null, cause: String(e?.cause ?? '') };
    }
  }
  console.log(JSON.stringify(seen));
  process.exit(0);
}
export const url = process.argv[2];
