# The same commands for people who think in make.
.PHONY: check check-slow bench run lock docs

check:
	uv run scripts/check

check-slow:
	uv run scripts/check --slow

run:
	uv run stoker serve demo

bench:
	uv run python -m bench

lock:
	uv run python scripts/lock.py

docs:
	uv run python scripts/states_doc.py
	uv run python scripts/variants_doc.py
