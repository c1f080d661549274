/* SPDX-License-Identifier: Apache-2.0 */
/* Force-included into every C file: using one of these is a compile error. */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#pragma GCC poison strcpy strcat strncpy strncat strtok sprintf vsprintf gets atoi atol atof
#pragma GCC poison gmtime localtime ctime asctime mktemp

/* Not poisoned: headers of OpenSSL name parameters so. */
int rand(void) __attribute__((deprecated("use core/base/rand.h")));
void srand(unsigned seed) __attribute__((deprecated("use core/base/rand.h")));
