/* SPDX-License-Identifier: Apache-2.0 */
/* One binary: `muster serve` is the daemon, every other verb is the command line. */
#include "app/cli/cli.h"
#include "app/daemon/daemon.h"

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "serve"))
		return serve_main(argc, argv);
	return cli_main(argc, argv);
}
