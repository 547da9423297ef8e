# make demo, make test, make check: each does all the set-up itself.
.PHONY: demo test test-fast check table1 bench bench-where bench-gpu bench-growth bench-training trust packages lock clean

demo:
	@scripts/setup.sh run
	@scripts/demo.sh $(ARGS)

test:
	@scripts/setup.sh dev
	@.venv/bin/python -m pytest -n auto $(ARGS)
	@.venv/bin/python -m pytest -n auto -m slow $(ARGS)

test-fast:
	@scripts/setup.sh dev
	@.venv/bin/python -m pytest -n auto $(ARGS)

check:
	@scripts/setup.sh dev
	.venv/bin/ruff format --check src tests scripts benchmarks
	.venv/bin/ruff check src tests scripts benchmarks
	.venv/bin/mypy
	.venv/bin/lint-imports

# the ResMLP article's Table 1 on this machine, a quarter of an hour on 2 cores: docs/table1.md; MACHINE="an x86 laptop"
table1:
	@scripts/setup.sh run
	@.venv/bin/python benchmarks/table1.py --page docs/table1.md $(if $(MACHINE),--machine "$(MACHINE)") $(ARGS)

# allmlp.compile beside timm, torch.compile and, where they are installed, ONNX Runtime and OpenVINO; half an hour and more on
# 2 cores, ARGS=--quick takes minutes; for the last two, install the extras onnxruntime and openvino into .venv first
bench:
	@scripts/setup.sh run
	@.venv/bin/python benchmarks/inference.py --page docs/benchmarks/inference.md $(if $(MACHINE),--machine "$(MACHINE)") $(ARGS)

# where the time of the engine by torch alone goes, operation by operation, two minutes on one core
bench-where:
	@scripts/setup.sh run
	@.venv/bin/python benchmarks/where.py --page docs/benchmarks/where.md $(if $(MACHINE),--machine "$(MACHINE)") $(ARGS)

# `bench` on a GPU beside timm and torch.compile max-autotune, in bf16; what build/inference-gpu.json has already is not measured again
bench-gpu:
	@scripts/setup.sh run
	@.venv/bin/python benchmarks/inference_gpu.py --page docs/benchmarks/inference-gpu.md $(if $(MACHINE),--machine "$(MACHINE)") $(ARGS)

# how time and memory grow with batch, picture size, depth and threads, half an hour on 2 cores
bench-growth:
	@scripts/setup.sh run
	@.venv/bin/python benchmarks/growth.py --page docs/benchmarks/growth.md $(if $(MACHINE),--machine "$(MACHINE)") $(ARGS)

# a training step and its data beside timm's, ten minutes on one core; ARGS="--quick --pictures FOLDER"
bench-training:
	@scripts/setup.sh run
	@.venv/bin/python benchmarks/training.py --page docs/benchmarks/training.md $(if $(MACHINE),--machine "$(MACHINE)") $(ARGS)

# every fault of docs/trust.md, as often as it says there, and the page written anew; ARGS=tests/trust/test_kills.py for some of them
trust:
	@scripts/setup.sh dev
	@.venv/bin/python scripts/trust.py $(ARGS)

# licences of what is pinned (docs/packages.md), a bill of materials (build/sbom.json), and known holes, for which the network is asked
packages:
	@scripts/setup.sh dev
	@.venv/bin/python scripts/packages.py
	@mkdir -p build
	uv tool run --from 'cyclonedx-bom>=7' cyclonedx-py environment --output-reproducible -o build/sbom.json .venv
	uv tool run pip-audit --strict --require-hashes --disable-pip -r locks/dev.txt

# new pinned versions; needs uv
lock:
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade pyproject.toml -o locks/run.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade --extra test --extra check -c locks/run.txt pyproject.toml -o locks/dev.txt

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
