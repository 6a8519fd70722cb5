# The front door.  Each target is one call of the build or of a script.
BUILD ?= build
export BUILD

.PHONY: all build deps demo test test-kernels bench fmt lint verify fuzz install clean

all: build

build: deps
	@tools/build $(BUILD)

deps:
	@tools/deps build

demo: build
	@tools/deps demo
	@tools/demo

test: deps
	@tools/deps test
	@tools/test

test-kernels: build
	@tools/deps kernels
	@tests/kernels/fetch $(BUILD)/kernels
	@tools/test-kernels

bench: build
	@tools/deps bench
	@bench/run

fmt:
	@tools/deps lint
	@tools/fmt

lint: build
	@tools/deps lint
	@tools/lint

verify: build
	@tools/verify

fuzz: deps
	@tools/deps fuzz
	@tools/fuzz

install: build
	@meson install -C $(BUILD) --no-rebuild

clean:
	rm -rf build build-*
