/* SPDX-License-Identifier: Apache-2.0 */
/* What the verbs of deployments share. */
#pragma once
#include "app/cli/cli_internal.h"

struct slice deploy_share(struct cli *c, const struct json *d);
int64_t deploy_n_steps(const struct json *d);
enum style deploy_style(struct slice state_or_verdict);
/* The table of what was measured; how many lines it has. */
size_t deploy_print_judgement(struct cli *c, const struct json *judgement);
