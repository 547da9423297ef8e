# make demo, make test, make check: each does all the set-up itself.
.PHONY: demo test test-fast check lock clean

demo:
	@scripts/setup.sh run
	@scripts/demo.sh $(ARGS)

test:
	@scripts/setup.sh dev
	@.venv/bin/python -m pytest -n auto $(ARGS)
	@.venv/bin/python -m pytest -m slow $(ARGS)

test-fast:
	@scripts/setup.sh dev
	@.venv/bin/python -m pytest -n auto $(ARGS)

check:
	@scripts/setup.sh dev
	.venv/bin/ruff format --check src tests scripts
	.venv/bin/ruff check src tests scripts
	.venv/bin/mypy
	.venv/bin/lint-imports

# new pinned versions; needs uv
lock:
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade pyproject.toml -o locks/run.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade --all-extras -c locks/run.txt pyproject.toml -o locks/dev.txt

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
