# Stowage: one Makefile, no recursion. `make help` lists the targets.
#
# Objects go to build/$(MODE)/, one directory a mode. A service is every .c file below services/NAME/, linked with
# libproto and libcommon; nothing has to be listed here when a file is added.

MODE    ?= release
OUT     ?= build/$(MODE)
SERVICES := analyzer-worker archive-manager catalog object-store-gateway cli
BINARY_cli := stowage
PREFIX  ?= /usr/local
VERSION := 0.1.0
# V=1 shows the commands.
Q := $(if $(V),,@)
say = $(if $(V)$(findstring s,$(firstword -$(MAKEFLAGS))),,@echo '  $(1)')

# Compiler ------------------------------------------------------------------------------------------------------------
CC_fuzz := clang
CC_MODE := $(or $(CC_$(MODE)),$(if $(filter default,$(origin CC)),gcc,$(CC)))

# Each warning has its reason: the usual set (all, extra), names that hide others, conversions that lose bits in formats
# and literals, switch statements that forget a value, prototypes that do not say what they take.
WARNINGS := -Wall -Wextra -Wshadow -Wformat=2 -Wswitch-enum -Wstrict-prototypes -Wmissing-prototypes \
            -Wpointer-arith -Wcast-qual -Wwrite-strings -Wvla -Wundef -Wno-missing-field-initializers $(WERROR)
PACKAGES := expat libpq libcurl nanomsg libarchive libcjson libuv libzstd talloc yaml-0.1 libmicrohttpd libcrypto libseccomp
CPPFLAGS += -I. -D_GNU_SOURCE -DSTOWAGE_VERSION='"$(VERSION)"' $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)

HARDEN  := -fstack-protector-strong -fstack-clash-protection -fPIE
FLAGS_release  := -O2 -g $(HARDEN) -D_FORTIFY_SOURCE=2
FLAGS_debug    := -O0 -g3 $(HARDEN)
FLAGS_asan     := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
FLAGS_tsan     := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
FLAGS_coverage := -O0 -g --coverage
FLAGS_fuzz     := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
LINK_release   := -pie -Wl,-z,relro,-z,now
LINK_debug     := -pie
# Builds for tests can be told to die at a named point (common/fault.h); the others have no such code.
CPPFLAGS += $(if $(filter asan tsan debug coverage,$(MODE)),-DSTOWAGE_FAULTS)
CFLAGS  += -std=gnu11 $(WARNINGS) $(FLAGS_$(MODE))
LDFLAGS += $(FLAGS_$(MODE)) $(LINK_$(MODE)) -Wl,--as-needed
# --as-needed: a service is linked only with the libraries that its own code, or the part of common/ it uses, calls.
LDLIBS  += $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -lisal -pthread -lm

ifeq ($(FLAGS_$(MODE)),)
$(error MODE=$(MODE) is none of release debug asan tsan coverage fuzz)
endif

# Sources -------------------------------------------------------------------------------------------------------------
COMMON_SRC := $(sort $(shell find common -name '*.c'))
PROTO_SRC  := $(filter-out proto/protocol_main.c,$(sort $(shell find proto -name '*.c')))
service_src = $(sort $(shell find services/$(1) -name '*.c'))
objects     = $(patsubst %.c,$(OUT)/obj/%.o,$(1))

LIBS     := $(OUT)/lib/libproto.a $(OUT)/lib/libcommon.a
binary    = $(OUT)/bin/$(or $(BINARY_$(1)),$(1))
BINARIES := $(foreach s,$(SERVICES),$(call binary,$(s)))

# tests/unit/PART/*_test.c: one cmocka program each, linked with PART's library (common and proto always).
UNIT_SRC := $(sort $(shell find tests/unit -name '*_test.c' 2>/dev/null))
UNIT_BIN := $(patsubst tests/unit/%.c,$(OUT)/unit/%,$(UNIT_SRC))
# tests/bench/*_bench.c and tests/fuzz/*_fuzz.c: one program each, linked with every service library.
BENCH_BIN := $(patsubst tests/bench/%.c,$(OUT)/bench/%,$(sort $(wildcard tests/bench/*_bench.c)))
HELPER_BIN := $(patsubst tests/helpers/%.c,$(OUT)/helpers/%,$(sort $(wildcard tests/helpers/*.c)))
FUZZ_BIN  := $(patsubst tests/fuzz/%.c,$(OUT)/fuzz/%,$(sort $(wildcard tests/fuzz/*_fuzz.c)))

.PHONY: all help helpers units benches fuzzers deps test unit integration chaos demo bench lint fmt fuzz-smoke install clean protocol
all: $(BINARIES)

help:
	@sed -n 's/^#: //p' $(MAKEFILE_LIST)

#: make              build the five executables into build/release/bin
#: make deps         install what building, testing and the demo need (Debian 12)
#: make demo         analyse a real image on a private installation, archive it, restore it [IMAGE=REF]
#: make test         unit and integration tests with sanitizers
#: make chaos        the kill -9 tests at length
#: make bench        figures and their ratio to a peer or a physical limit
#: make lint         formatting, clang-tidy, headers alone, include direction, PROTOCOL.md
#: make fmt          format the sources, write PROTOCOL.md
#: make fuzz-smoke   every fuzz harness for a few seconds
#: make install      into $(DESTDIR)$(PREFIX)
#: make clean        remove build/
#: MODE=release|debug|asan|tsan|coverage|fuzz chooses how things are built

$(OUT)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC   $@)
	$(Q)$(CC_MODE) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(OUT)/lib/libcommon.a: $(call objects,$(COMMON_SRC))
$(OUT)/lib/libproto.a: $(call objects,$(PROTO_SRC))
$(OUT)/lib/%.a:
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,AR   $@)
	$(Q)ar rcs $@ $^

define service_rules
SERVICE_LIBS += $(OUT)/lib/lib$(1).a
$(OUT)/lib/lib$(1).a: $(call objects,$(filter-out services/$(1)/main.c,$(call service_src,$(1))))
$(call binary,$(1)): $(call objects,services/$(1)/main.c) $(OUT)/lib/lib$(1).a $(LIBS)
	@mkdir -p $$(@D)
	$$(call say,LINK $$@)
	$$(Q)$$(CC_MODE) $$(LDFLAGS) -o $$@ $$^ $$(LDLIBS)
endef
$(foreach s,$(SERVICES),$(eval $(call service_rules,$(s))))

# The library of the part a unit test belongs to: none for common and proto, which every test gets.
part_lib = $(addprefix $(OUT)/lib/lib,$(addsuffix .a,$(filter $(SERVICES),$(firstword $(subst /, ,$(1))))))
.SECONDEXPANSION:
$(OUT)/unit/%: $(OUT)/obj/tests/unit/%.o $$(call part_lib,$$*) $(LIBS)
	@mkdir -p $(@D)
	$(call say,LINK $@)
	$(Q)$(CC_MODE) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lcmocka

$(OUT)/bench/%: $(OUT)/obj/tests/bench/%.o $$(SERVICE_LIBS) $(LIBS)
	@mkdir -p $(@D)
	$(call say,LINK $@)
	$(Q)$(CC_MODE) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(OUT)/fuzz/%: $(OUT)/obj/tests/fuzz/%.o $$(SERVICE_LIBS) $(LIBS)
	@mkdir -p $(@D)
	$(call say,LINK $@)
	$(Q)$(CC_MODE) $(LDFLAGS) $(if $(filter fuzz,$(MODE)),-fsanitize=fuzzer) -o $@ $^ $(LDLIBS)

# tests/helpers/*.c: small programs that the integration tests drive.
$(OUT)/helpers/%: $(OUT)/obj/tests/helpers/%.o $$(SERVICE_LIBS) $(LIBS)
	@mkdir -p $(@D)
	$(call say,LINK $@)
	$(Q)$(CC_MODE) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(OUT)/bin/protocol: $(call objects,proto/protocol_main.c) $(LIBS)
	@mkdir -p $(@D)
	$(call say,LINK $@)
	$(Q)$(CC_MODE) $(LDFLAGS) -o $@ $^ $(LDLIBS)

helpers: $(HELPER_BIN)
units: $(UNIT_BIN)
benches: $(BENCH_BIN)
fuzzers: $(FUZZ_BIN)

# Work that is more than a rule stands in scripts. They call `make` for what they need built.
deps:
	@tests/run/deps
test:
	@tests/run/test
unit:
	@tests/run/test --unit
integration:
	@tests/run/test --integration
chaos:
	@tests/run/test --chaos
demo:
	@tests/run/demo
bench:
	@tests/run/bench
lint:
	@tests/run/lint
fmt:
	@tests/run/fmt
fuzz-smoke:
	@tests/run/fuzz-smoke

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/doc/stowage
	install -m 755 $(BINARIES) $(DESTDIR)$(PREFIX)/bin/
	install -m 644 README.md proto/PROTOCOL.md $(DESTDIR)$(PREFIX)/share/doc/stowage/

clean:
	rm -rf build

-include $(shell find $(OUT)/obj -name '*.d' 2>/dev/null)
