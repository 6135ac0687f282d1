# One door: people and CI call the same targets. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/lariat
TOOLS := $(CACHE)/tools/$(shell sha256sum .ci/tools.txt | cut -c1-12)
export PATH := $(TOOLS)/bin:$(HOME)/.cargo/bin:$(PATH)

CARGO := cargo
LOCKED := --workspace --locked
# Binaries are built once for the whole workspace and run from here: `cargo run -p` would compile shared
# dependencies again with other features.
DEBUG := $(or $(CARGO_TARGET_DIR),target)/debug
RELEASE := $(or $(CARGO_TARGET_DIR),target)/release

.PHONY: help
help: ## List the tasks
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup tools
setup: ## Check for what building needs; install it or name it
	@.ci/setup rust

tools: setup
	@.ci/install-tools "$(TOOLS)"

.PHONY: demo demo-up demo-down
# It builds only what it needs of the Kubernetes components: no KWOK, no metrics-server.
demo: build ## The main job once: a server, a cluster behind NAT, an agent, kubectl through the tunnel
	@.ci/setup go
	$(DEBUG)/demo run

demo-up: build ## The same, left running in the background; target/demo/env says how to use it
	@.ci/setup go
	$(DEBUG)/demo up

demo-down: ## End what demo-up has started
	@if [ -x $(DEBUG)/demo ]; then $(DEBUG)/demo down; else echo "demo: nothing was built here, so nothing runs"; fi

.PHONY: build
build: setup ## Compile the programs (dev profile)
	$(CARGO) build $(LOCKED) --bins

.PHONY: fmt
fmt: setup ## Format the sources
	$(CARGO) fmt --all
	$(CARGO) fmt --manifest-path tunnel-proto/fuzz/Cargo.toml
	$(CARGO) fmt --manifest-path apiserver/fuzz/Cargo.toml
	$(CARGO) fmt --manifest-path remotecommand/fuzz/Cargo.toml

.PHONY: lint lint-fmt lint-docs lint-dependencies lint-clippy
lint: lint-fmt lint-docs lint-dependencies lint-clippy ## Check format, links, named tests, dependencies, licences, unused dependencies, clippy

lint-fmt: setup
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path tunnel-proto/fuzz/Cargo.toml --check
	$(CARGO) fmt --manifest-path apiserver/fuzz/Cargo.toml --check
	$(CARGO) fmt --manifest-path remotecommand/fuzz/Cargo.toml --check

lint-docs:
	.ci/check-links
	.ci/check-attempts

lint-dependencies: tools
	.ci/check-dependencies
	cargo-deny --offline --log-level error check --hide-inclusion-graph bans licenses sources
	@if compgen -G "$${CARGO_HOME:-$$HOME/.cargo}/advisory-dbs/*/.git" >/dev/null; then \
	  set -x; cargo-deny --offline check advisories; \
	else \
	  echo "lint: no advisory database on this machine; 'cargo-deny fetch db' gets one"; \
	fi
	cargo-shear --locked --deny-warnings
	for crate in tunnel-proto apiserver remotecommand; do \
	  $(CARGO) metadata --locked --format-version 1 --manifest-path $$crate/fuzz/Cargo.toml >/dev/null; \
	done

lint-clippy: setup
	$(CARGO) clippy $(LOCKED) --all-targets -- -D warnings

.PHONY: testbed
testbed: build ## Build the real Kubernetes components, once, into the cache (8 minutes the first time)
	@.ci/setup go
	$(DEBUG)/testbed build

# A real node and a domain controller need root.
ROOT_ONLY := (binary(full_cluster) | binary(active_directory))

.PHONY: test
test: tools testbed ## Run every test that is fit for CI
	$(CARGO) test $(LOCKED) --doc --quiet
ifeq ($(shell id -u),0)
	cargo-nextest nextest run $(LOCKED)
	$(DEBUG)/e2e-faults
	$(DEBUG)/e2e-proxies
	$(DEBUG)/e2e-network --seconds 4 --size 4194304
	$(DEBUG)/e2e-endpoint
	$(DEBUG)/e2e-store --seconds 20 --crash-points 200
	$(DEBUG)/e2e-recording
	$(DEBUG)/e2e-logins
else
	@echo "test: not root, so what needs namespaces is left out: $(ROOT_ONLY), e2e-faults, e2e-proxies, e2e-network, e2e-endpoint, e2e-store, e2e-recording, e2e-logins"
	cargo-nextest nextest run $(LOCKED) -E 'not ($(ROOT_ONLY))'
endif
	$(DEBUG)/e2e-apiserver
	$(DEBUG)/e2e-hostile
	$(DEBUG)/e2e-traces
	$(DEBUG)/e2e-access
	$(DEBUG)/transcripts --check
	$(DEBUG)/e2e-clients
	$(DEBUG)/e2e-rancher
	@.ci/setup fuzz
	.ci/fuzz tunnel-proto $(FUZZ_SECONDS)
	.ci/fuzz apiserver $(FUZZ_SECONDS)
	.ci/fuzz remotecommand $(FUZZ_SECONDS)

.PHONY: e2e-faults
e2e-faults: testbed ## Kill the agent and the server, cut the network, flush NAT: kubectl works again by itself, informers miss nothing (root)
	$(DEBUG)/e2e-faults

.PHONY: e2e-kubectl
e2e-kubectl: testbed ## Hundreds of kubectl invocations, helm, Python, kube-rs: through the tunnel as without it (root)
	$(DEBUG)/e2e-kubectl

.PHONY: e2e-access
e2e-access: testbed e2e-logins ## Roles and bindings in a connected cluster: there at once, exact, repaired, removed, right after an absence. And e2e-logins (root)
	$(DEBUG)/e2e-access

.PHONY: e2e-endpoint
e2e-endpoint: testbed ## kubectl past the server: the same rights, while the server is away, and no longer than allowed (root)
	$(DEBUG)/e2e-endpoint

.PHONY: e2e-apiserver
e2e-apiserver: testbed ## Hundreds of requests and kubectl invocations to the management API and to a kube-apiserver: the same answers
	$(DEBUG)/e2e-apiserver

.PHONY: e2e-traces
e2e-traces: testbed ## One request is one trace, from kubectl to a real kube-apiserver
	$(DEBUG)/e2e-traces

.PHONY: e2e-clients
e2e-clients: testbed ## helm, Python, client-go and Kubernetes' own tests of API machinery against the management API
	$(DEBUG)/e2e-clients

.PHONY: e2e-rancher
e2e-rancher: testbed ## What clients of Rancher ask of /v3, replayed, and the page of /v3 in a real browser
	$(DEBUG)/e2e-rancher

.PHONY: e2e-hostile
e2e-hostile: build ## Bad tokens, keys, pins, headers, paths, floods of connections: each refused with its error
	$(DEBUG)/e2e-hostile

.PHONY: e2e-proxies
e2e-proxies: testbed ## The agent behind real HTTP proxies, with and without the right password, and past them (root)
	$(DEBUG)/e2e-proxies

# In full: make e2e-network E2E_NETWORK="--seconds 60 --size 1073741824 --silence 150"
.PHONY: e2e-network
e2e-network: testbed ## Count every byte of logs, exec, cp, watches, port-forward while NAT, loss, resets, proxies, balancers break the link (root)
	$(DEBUG)/e2e-network $(E2E_NETWORK)

.PHONY: e2e-store
e2e-store: testbed ## The store on redb and on three etcd members: the contract, 1,000 crashes, kills, partitions (root)
	$(DEBUG)/e2e-store

.PHONY: e2e-recording
e2e-recording: testbed ## Record kubectl exec and attach over WebSocket and SPDY on a real node; refuse what cannot be recorded (root)
	$(DEBUG)/e2e-recording

.PHONY: e2e-logins
e2e-logins: testbed ## The life of login providers: directories, OpenID Connect and GitHub with a real browser, kubectl by the groups there (root)
	$(DEBUG)/e2e-logins

.PHONY: bench-proxy
bench-proxy: testbed ## Measure the proxy beside the same without it; writes docs/benchmarks (root, release build)
	$(CARGO) build --release $(LOCKED) --bin lariat-server --bin cattle-cluster-agent --bin lariat --bin bench-proxy
	$(RELEASE)/bench-proxy

.PHONY: bench-apiserver
bench-apiserver: testbed ## Measure the management API beside a real kube-apiserver; writes docs/benchmarks (release build)
	$(CARGO) build --release $(LOCKED) --bin lariat-server --bin bench-apiserver
	$(RELEASE)/bench-apiserver

.PHONY: bench-fleet
bench-fleet: setup ## Measure one server with 1,000 simulated clusters, 2,000 people, 10,000 bindings; writes docs/benchmarks (release build)
	$(CARGO) build --release $(LOCKED) --bin lariat-server --bin bench-fleet
	$(RELEASE)/bench-fleet --out docs/benchmarks

.PHONY: bench-tunnel
bench-tunnel: setup ## Measure the tunnel beside bare TLS, rathole, bore and remotedialer; writes docs/benchmarks (release build; 25 minutes)
	@.ci/setup go tunnels
	$(CARGO) build --release $(LOCKED) --bin lariat-server --bin bench-tunnel
	$(RELEASE)/bench-tunnel $(BENCH_FLAGS)

PROPERTY_CASES ?= 1000000
.PHONY: properties
properties: setup ## Go through the properties of the tunnel's link and gate with PROPERTY_CASES (1000000) cases each, of its multiplexer with a tenth of that, and all races of carriers; optimised
	PROPTEST_CASES=$(PROPERTY_CASES) $(CARGO) test --profile properties --locked -p tunnel-proto --lib -- --nocapture link:: gate:: mux::frame::
	PROPTEST_CASES=$$(($(PROPERTY_CASES) / 10 + 1)) $(CARGO) test --profile properties --locked -p tunnel-proto --lib -- mux::tests::

SEEDS ?= 10000
FIRST ?= 1
.PHONY: simulate
simulate: setup ## Simulate the whole tunnel with faults in virtual time: SEEDS (10000) seeds from FIRST (1)
	SEEDS=$(SEEDS) FIRST=$(FIRST) $(CARGO) test $(LOCKED) --test simulation -- --nocapture seeds

.PHONY: bench-scale
bench-scale: setup ## Measure one server with 10,000 simulated agents: at rest, asked, killed; writes docs/benchmarks (two cores, release build)
	$(CARGO) build --release $(LOCKED) --bin lariat-server --bin bench-scale
	$(RELEASE)/bench-scale --out docs/benchmarks

SOAK_MINUTES ?= 60
.PHONY: soak
soak: setup ## Mixed load and random faults for SOAK_MINUTES (60): nothing may grow, no byte be wrong; writes docs/benchmarks (release build)
	$(CARGO) build --release $(LOCKED) --bin lariat-server --bin soak
	$(RELEASE)/soak --minutes $(SOAK_MINUTES) --out docs/benchmarks

FUZZ_SECONDS ?= 15
.PHONY: fuzz
fuzz: setup ## Feed decoders of the tunnel, the management API and recordings made-up input, FUZZ_SECONDS (15) for each of 13 targets
	@.ci/setup fuzz
	.ci/fuzz tunnel-proto $(FUZZ_SECONDS)
	.ci/fuzz apiserver $(FUZZ_SECONDS)
	.ci/fuzz remotecommand $(FUZZ_SECONDS)

.PHONY: docs
docs: testbed ## Write docs/configuration.md and docs/kubectl.md again, build the API documentation; warnings are errors
	$(DEBUG)/lariat-server config-reference > docs/configuration.md.new
	mv docs/configuration.md.new docs/configuration.md
	$(DEBUG)/transcripts
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(LOCKED) --no-deps --document-private-items

.PHONY: clean
clean: setup ## Remove build results of this checkout (not the shared caches)
	$(CARGO) clean
	rm -rf tunnel-proto/fuzz/target apiserver/fuzz/target remotecommand/fuzz/target
