# A thin front: each verb is carried out by lib/vecforensics/checkout.py, which needs nothing but the standard library, so that
# `cd lib && python -m vecforensics VERB` does the same on a machine without make.
#
#   make report            make test ARGS="-k diff"            make setup NO_UV=1            make setup PYTHON=python3.13

VERBS := help setup report test check lab bench lock clean
BENCHES := bench-diff bench-pinecone bench-race
.DEFAULT_GOAL := help
.PHONY: $(VERBS) $(BENCHES)
.NOTPARALLEL:

# The first that starts and is new enough; tried in the order in which it is tested.
PYTHON ?= $(firstword $(shell for python in python3.11 python3 python3.12 python3.13 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$python; done) python3)
ARGS ?=
VECFORENSICS = @PYTHONPATH=lib "$(PYTHON)" -m vecforensics

$(VERBS):
	$(VECFORENSICS) $@ $(ARGS)

$(BENCHES): bench-%:
	$(VECFORENSICS) bench $* $(ARGS)
