# SPDX-License-Identifier: Apache-2.0
# One Makefile, one include path, one build directory per configuration.
#
#   make            build/release/muster        make run        build, start the demo on 127.0.0.1:8080
#   make test       unit, corpora, behaviour    make check      format, layers, headers, tidy
#   make deps       install what is missing     make test-clients   real clients and a real model (npm, PyPI)
#   make unit           unit and corpora alone  make behaviour  the real binary alone (K=stream: some of it)
#   make SAN=address,undefined unit             make SAN=thread unit-threaded
#   make fuzz T=http_head SECS=60               make bench      beside nginx (ARGS=--json)
#   make bench-promises  lookups, log, rollback (ARGS=--smoke)
#   make bench-latency   one connection           make bench-streams   10,000 open at once, and memory
#   make bench-scaling   two loops and one        make bench-soak      half an hour (ARGS=5: minutes)
#   V=1: commands as they run                   CC=clang        another compiler, build/clang-release

CC      ?= gcc
CXX     ?= $(if $(findstring clang,$(CC)),clang++,g++)
ifeq ($(origin CC),default)
CC      := gcc
endif
ifeq ($(origin CXX),default)
CXX     := $(if $(findstring clang,$(CC)),clang++,g++)
endif
PYTHON  ?= /usr/bin/python3
# As many jobs as there are CPUs, unless somebody said how many.
ifeq ($(filter -j% --jobserver%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(shell nproc)
endif
say      = @$(if $(V),:,printf '  %-5s %s\n' $1 $2)
Q       := $(if $(V),,@)
SAN     ?=
PKGS    := libuv openssl libhs sqlite3 yaml-0.1 libzstd zlib libcurl libpq simdjson
CFLAGS  ?= -O2 -g
WARN    := -Wall -Wextra -Werror -Wshadow -Wpointer-arith -Wwrite-strings -Wvla -Walloca -Wundef -Wformat=2 \
           -Wimplicit-fallthrough -Wcast-qual -Wno-missing-field-initializers
CWARN   := -Wstrict-prototypes -Wmissing-prototypes -Wswitch-enum
comma   := ,
VARIANT := $(if $(findstring clang,$(CC)),clang-)$(if $(SAN),$(subst $(comma),-,$(SAN)),release)
CONFIG  ?= $(VARIANT)
B       := build/$(CONFIG)

# What the goals need beyond a compiler; `make deps` alone installs it too (DEPS=--all: for every goal).
DEPS ?= --tests
NEEDS := --build
ifneq ($(filter test unit unit-threaded behaviour,$(MAKECMDGOALS)),)
NEEDS := --tests
endif
ifneq ($(filter bench bench-% fuzz check check-% tidy test-clients,$(MAKECMDGOALS))$(findstring clang,$(CC)),)
NEEDS := --all
endif
ifeq ($(filter deps clean,$(MAKECMDGOALS)),)
ifneq ($(shell pkg-config --exists $(PKGS) 2>/dev/null$(if $(filter --build,$(NEEDS)),, && sh tools/deps $(NEEDS) --check >/dev/null) && echo yes),yes)
MISSING := yes
endif
endif

PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
# Of these only the headers: core/base/late.h loads them when they are first needed.
LATE   := libcurl libpq
PKG_LIBS   := $(shell pkg-config --libs $(filter-out $(LATE),$(PKGS)) 2>/dev/null)
COMMON   = -D_GNU_SOURCE -Isrc -I. -Itests -MMD -MP -fno-common -fstack-protector-strong $(WARN) $(PKG_CFLAGS) $(CFLAGS) \
           $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
ALL_CFLAGS   = -std=gnu17 -include core/base/banned.h $(CWARN) $(COMMON)
ALL_CXXFLAGS = -std=c++17 $(COMMON)
# The release binary is optimised as a whole: a tenth less CPU per request. Its objects hold plain code too, for the tests.
LTO          := $(if $(SAN)$(findstring clang,$(CC))$(filter-out release,$(CONFIG)),,yes)
COMMON       += $(if $(LTO),-flto=auto -ffat-lto-objects)
ALL_LDFLAGS  = -Wl,--as-needed $(LDFLAGS) $(if $(SAN),-fsanitize=$(SAN))
LIBS         = $(PKG_LIBS) -lpthread -lm

SRC    := $(filter-out src/app/daemon/main.c,$(shell find src clients -name '*.c' 2>/dev/null | sort))
CCSRC  := $(shell find src -name '*.cc' | sort)
OBJ    := $(SRC:%.c=$B/%.o) $(CCSRC:%.cc=$B/%.o)
TESTS  := $(patsubst tests/%.c,$B/%,$(wildcard tests/unit/test_*.c tests/conformance/test_*.c))
# Those that start threads: for SAN=thread.
THREADED := $(patsubst tests/%.c,$B/%,$(shell grep -lsE 'pthread|loop_start|loop_thread' tests/unit/test_*.c tests/conformance/test_*.c))
FUZZ   := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))

all: $B/muster
lib: $B/libmuster.a

ifdef MISSING
DEPS_FIRST := $(shell sh tools/deps $(NEEDS) >&2 && echo ok)
ifneq ($(DEPS_FIRST),ok)
$(error packages are missing: install them as root with `make deps DEPS=$(NEEDS)`)
endif
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS   := $(shell pkg-config --libs $(filter-out $(LATE),$(PKGS)) 2>/dev/null)
endif

$B/muster: $B/src/app/daemon/main.o $B/libmuster.a
	$(call say,LINK,$@)
	$Q$(CXX) $(ALL_LDFLAGS) $(if $(LTO),-flto=auto -O2) -o $@ $^ $(LIBS)
$B/libmuster.a: $(OBJ)
	@rm -f $@ && ar rcs $@ $^
$B/unit/%: $B/tests/unit/%.o $B/libmuster.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$Q$(CXX) $(ALL_LDFLAGS) $(if $(LTO),-fno-lto) -o $@ $^ $(LIBS) $(if $(findstring test_http_differential,$@),-lhttp_parser)
$B/conformance/%: $B/tests/conformance/%.o $B/libmuster.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$Q$(CXX) $(ALL_LDFLAGS) $(if $(LTO),-fno-lto) -o $@ $^ $(LIBS)
$B/corpus_%: $B/tests/fuzz/fuzz_%.o $B/tests/fuzz/replay.o $B/libmuster.a
	$(call say,LINK,$@)
	$Q$(CXX) $(ALL_LDFLAGS) $(if $(LTO),-fno-lto) -o $@ $^ $(LIBS)
$B/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$Q$(CC) $(ALL_CFLAGS) -c -o $@ $<
$B/%.o: %.cc
	@mkdir -p $(@D)
	$(call say,CXX,$<)
	$Q$(CXX) $(ALL_CXXFLAGS) -c -o $@ $<

run: $B/muster
	@exec $B/muster serve --demo $(ARGS)
deps:
	@sh tools/deps $(DEPS)

unit: $(TESTS) $(FUZZ:%=$B/corpus_%)
	@sh tools/test-all $B $(PYTHON) unit
unit-threaded: $(THREADED)
	@sh tools/run-tests $(THREADED)
behaviour: $B/muster
	@K='$(K)' sh tools/test-all $B $(PYTHON) behaviour
test: $B/muster $(TESTS) $(FUZZ:%=$B/corpus_%)
	@sh tools/test-all $B $(PYTHON) unit behaviour
test-clients: $B/muster
	@sh tools/test-all $B $(PYTHON) clients
bench: $B/muster
	@MUSTER_BIN=$(abspath $B/muster) $(PYTHON) tests/bench/proxy/run.py $(ARGS)

bench-promises: $B/muster
	@MUSTER_BIN=$(abspath $B/muster) $(PYTHON) tests/bench/promises.py $(ARGS)

bench-latency: $B/muster
	@MUSTER_BIN=$(abspath $B/muster) $(PYTHON) tests/bench/proxy/run.py --latency $(ARGS)
bench-streams bench-scaling bench-soak: bench-%: $B/muster
	@MUSTER_BIN=$(abspath $B/muster) $(PYTHON) tests/bench/$*/run.py $(ARGS)

fuzz:
	@mkdir -p build/fuzz
	$(MAKE) CC=clang CONFIG=fuzz-lib CFLAGS='-O1 -g -fsanitize=fuzzer-no-link,address,undefined' build/fuzz-lib/libmuster.a
	clang -std=gnu17 -D_GNU_SOURCE -Isrc -I. -g -O1 -fsanitize=fuzzer,address,undefined -o build/fuzz/$T.o -c tests/fuzz/fuzz_$T.c
	clang++ -fsanitize=fuzzer,address,undefined -o build/fuzz/$T build/fuzz/$T.o build/fuzz-lib/libmuster.a $(LIBS)
	@mkdir -p build/fuzz/$T.found
	build/fuzz/$T -max_total_time=$(or $(SECS),60) build/fuzz/$T.found tests/fuzz/corpus/$T

check: check-format check-layers check-headers tidy
check-format:
	@clang-format --dry-run --Werror $$(find src tests tools clients \( -name '*.[ch]' -o -name '*.cc' \) ! -path '*/node_modules/*' 2>/dev/null)
check-layers:
	@sh tools/check-layers src
check-headers: # every header stands alone
	@cd src && find . -name '*.h' ! -name banned.h | sed 's|^\./||' | xargs -P 2 -I {} sh -c 'echo "#include \"{}\"" | \
	    $(CC) -std=gnu17 -D_GNU_SOURCE -I. -I.. $(PKG_CFLAGS) -Wall -Wextra -Werror -x c -fsyntax-only -'
tidy:
	@sh tools/tidy $(SRC) src/app/daemon/main.c -- -std=gnu17 -D_GNU_SOURCE -Isrc -I. -include core/base/banned.h $(PKG_CFLAGS)

clean:
	rm -rf build

.PHONY: all lib run deps unit unit-threaded behaviour test test-clients bench bench-promises bench-latency bench-streams bench-scaling bench-soak fuzz check check-format check-layers check-headers tidy clean
.PRECIOUS: $B/%.o
-include $(shell find $B -name '*.d' 2>/dev/null)
